"""A few lines of Python that run an exported file, to copy."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """An input of a model, as one run takes it."""

    name: str
    dtype: str  # as NumPy calls it
    shape: tuple[int, ...]


def feeds_of(sample: Mapping[str, npt.NDArray[Any]]) -> tuple[Feed, ...]:
    """The inputs of one run."""
    return tuple(
        Feed(name=name, dtype=np.asarray(value).dtype.name, shape=np.asarray(value).shape)
        for name, value in sample.items()
    )


def run_in_python(file_name: str, inputs: Sequence[Feed], *, exact: bool) -> str:
    """Python that loads a file and runs it once on zeros.

    Args:
        file_name: The file, in the folder where the lines are run.
        inputs: What a run takes.
        exact: Ask for exact integer sums, which the file needs on x86 CPUs without VNNI.
    """
    fed = "\n".join(f"    {_quoted(feed.name)}: {_zeros(feed)}," for feed in inputs)
    options = (
        (
            "options = ort.SessionOptions()\n"
            "# Exact sums on x86 CPUs without VNNI, where a default session cuts them off.\n"
            'options.add_session_config_entry("session.x64quantprecision", "1")\n'
        )
        if exact
        else "options = ort.SessionOptions()\n"
    )
    return (
        "import numpy as np\n"
        "import onnxruntime as ort\n\n"
        f"{options}"
        f"session = ort.InferenceSession({_quoted(file_name)}, options, "
        'providers=["CPUExecutionProvider"])\n'
        f"inputs = {{  # put your data here\n{fed}\n}}\n"
        "for info, value in zip(session.get_outputs(), session.run(None, inputs)):\n"
        "    print(info.name, np.shape(value))\n"
    )


def _quoted(name: str) -> str:
    """A string literal; those of JSON are those of Python, too."""
    return json.dumps(name, ensure_ascii=False)


def _zeros(feed: Feed) -> str:
    kind = "object" if feed.dtype == "object" else f"np.{feed.dtype}" if feed.dtype != "bool" else "bool"
    filled = "np.full" if feed.dtype == "object" else "np.zeros"
    value = ', ""' if feed.dtype == "object" else ""
    return f"{filled}({feed.shape!r}{value}, {kind})"
