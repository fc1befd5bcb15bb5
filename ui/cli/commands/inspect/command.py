"""The options of `quantscope inspect`."""

from __future__ import annotations

from quantscope.ui.cli.options import Json, ModelPath
from quantscope.ui.cli.spread import spread
from quantscope.ui.terminal import console


@spread
def inspect(model: ModelPath, json: Json = False) -> None:
    """Show layers, operators, tensors, and what can be quantized."""
    from quantscope.core.model import load_model
    from quantscope.ui.cli.commands.inspect import listing, work

    console.show(lambda: work.inspection(load_model(model, allow_quantized=True)), listing.inspection, json)
