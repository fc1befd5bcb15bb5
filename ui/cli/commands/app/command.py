"""The command `quantscope app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantscope.ui.cli.options import Feed, Serving
from quantscope.ui.cli.serving import serve
from quantscope.ui.cli.spread import Only, spread
from quantscope.ui.terminal.console import BadInput


@spread
def app(
    model: Annotated[Path | None, typer.Argument(metavar="MODEL", help="Float ONNX model.")] = None,
    *,
    feed: Annotated[Feed, Only("data")],
    evaluation: Annotated[
        Path | None,
        typer.Option(
            "--eval", metavar="PATH", help="Samples to judge quality on, which calibration does not see."
        ),
    ] = None,
    serving: Serving,
) -> None:
    """Open the app, on your model if one is named."""
    if feed.data is not None and model is None:
        raise BadInput("--data needs a model to go with: quantscope app MODEL.onnx --data PATH")
    if evaluation is not None and model is None:
        raise BadInput("--eval needs a model to go with: quantscope app MODEL.onnx --data PATH --eval PATH")
    arguments: list[str] = []
    for flag, path in (("--model", model), ("--data", feed.data), ("--eval", evaluation)):
        if path is not None:
            if not path.exists():
                raise BadInput(f"there is no file or folder '{path}'; check the path")
            arguments += [flag, str(path.resolve())]
    if model is not None:
        from quantscope.core.model.loading import read_model_file

        read_model_file(model)  # a file that holds no model is refused here, before a page opens
    serve(arguments, serving)
