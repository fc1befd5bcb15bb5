"""The formats that a quantized model is written in, one record each.

A new format is a file beside this one with its writer and reader, and a record in `FORMATS`. The command line
and Python write by the ending of the file that is named; the app offers `ONNX_QDQ` only.
`tests/test_conformance_formats.py` writes and reads a model in every format.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import onnx

from quantscope.core.errors import ExportError
from quantscope.core.export.onnx_file import read_onnx, write_onnx


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """One format of files."""

    name: str
    label: str  # what a file holds, for people
    suffixes: tuple[str, ...]  # in lower case; the first is the one that files get
    write: Callable[[onnx.ModelProto, Path], int]  # bytes on disk; raises ExportError
    read: Callable[[Path], onnx.ModelProto]  # the model as it was written; raises ModelError

    @property
    def suffix(self) -> str:
        """The ending that files get."""
        return self.suffixes[0]


ONNX_QDQ = ExportFormat(
    name="onnx",
    label="ONNX with QuantizeLinear / DequantizeLinear pairs",
    suffixes=(".onnx",),
    write=write_onnx,
    read=read_onnx,
)
FORMATS: Mapping[str, ExportFormat] = MappingProxyType({entry.name: entry for entry in (ONNX_QDQ,)})
SUFFIXES = tuple(suffix for entry in FORMATS.values() for suffix in entry.suffixes)


def format_of(path: Path) -> ExportFormat:
    """The format that a file name asks for by its ending.

    Raises:
        ExportError: No format has that ending.
    """
    for entry in FORMATS.values():
        if path.suffix.lower() in entry.suffixes:
            return entry
    raise ExportError(f"{path} should end in {' or '.join(SUFFIXES)}, since that is what will be in it")
