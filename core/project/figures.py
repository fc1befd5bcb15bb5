"""What was measured of a recipe or a file, kept in the project: a file for each, named by their content.

    figures/<digest>-preview.json   over the few samples of the edit loop
    figures/<digest>-whole.json     over the samples that quality is judged on, with size and time

A digest is that of a step's recipe, so that steps of one recipe share their figures, or that of a quantized
file. Each file says which model and data its figures are of. One that is damaged is as if it were not there.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from quantscope.core.files import read_json, to_json

FORMAT = 1  # of the files, and of what the figures in them mean
_DIGITS = 32  # of a digest, in a file's name


class Scope(StrEnum):
    """Over which samples figures are taken."""

    PREVIEW = "preview"  # the few of the edit loop
    WHOLE = "whole"  # those that quality is judged on


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one quantized model over some samples; None = not measured, or not to be had."""

    samples: int  # that they come from
    evaluation: bool  # evaluation samples; else those that ranges were calibrated on
    sqnr_db: float | None  # of all float outputs as one vector; inf where nothing differs
    cosine: float | None
    agreement: float | None = None  # share of rows for which both models put the same class first
    top1: float | None = None  # share of rows, 0 to 1
    float_top1: float | None = None
    miou: float | None = None
    float_miou: float | None = None
    rows: int | None = None  # that the shares are of: samples, or positions of them
    positions: bool = False  # rows are tokens or pixels
    size_bytes: int | None = None  # of the file
    float_bytes: int | None = None
    latency_ms: float | None = None  # of one run
    float_latency_ms: float | None = None


def figures_file(digest: str, scope: Scope) -> str:
    """Where figures are kept, relative to the project's folder."""
    return f"figures/{digest[:_DIGITS]}-{scope}.json"


def figures_content(figures: Figures, subject: str) -> bytes:
    """The file of figures.

    Args:
        figures: To be kept.
        subject: Stands for the model and the data that they are of.
    """
    values = {entry.name: _written(getattr(figures, entry.name)) for entry in fields(Figures)}
    return to_json({"format": FORMAT, "subject": subject, "figures": values})


def read_figures(path: Path, subject: str) -> Figures | None:
    """What `figures_content` made; None where it is absent, damaged, or of another model or other data."""
    body = read_json(path)
    if body is None or body.get("format") != FORMAT or body.get("subject") != subject:
        return None
    values = body.get("figures")
    try:
        return _figures(values) if isinstance(values, dict) else None
    except (KeyError, TypeError, ValueError):
        return None


def _figures(values: Mapping[str, Any]) -> Figures:
    found: dict[str, Any] = {}
    for entry in fields(Figures):
        value = values[entry.name]
        if entry.name in ("evaluation", "positions"):
            if not isinstance(value, bool):
                raise TypeError(entry.name)
            found[entry.name] = value
        elif value is None and entry.name != "samples":
            found[entry.name] = None
        elif isinstance(value, bool):
            raise TypeError(entry.name)
        else:
            found[entry.name] = int(value) if entry.name in _COUNTS else float(value)
    return Figures(**found)


_COUNTS = ("samples", "rows", "size_bytes", "float_bytes")


def _written(value: float | bool | None) -> float | bool | str | None:
    """Numbers that JSON lacks as words, which `float` reads."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
