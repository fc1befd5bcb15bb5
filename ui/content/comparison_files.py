"""A comparison of versions as files: JSON with all figures, and a table of every tensor as CSV."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quantscope.core.evaluate import LayerEncodings, LayerError
from quantscope.core.project import Figures
from quantscope.ui.content.tensor_pairs import TensorRange, tensor_pairs
from quantscope.ui.content.text import csv_cell

_HEAD = (
    "version",
    "layer",
    "operators",
    "tensor",
    "type",
    "low",
    "high",
    "scale",
    "zero_point",
    "scales",
    "cumulative_sqnr_db",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedVersion:
    """One version with all that is known of it."""

    label: str
    kind: str  # "float", "step" or "file"
    figures: Figures | None
    layers: Sequence[LayerError]
    encodings: Mapping[str, LayerEncodings]
    changes: Sequence[str]  # of choices, against the version that others are held against


def comparison_json(model: Any, versions: Sequence[ComparedVersion]) -> bytes:
    """All figures, choices that differ, and errors of layers; infinite SQNR as the word "inf"."""
    body = {
        "model": {"name": model.name, "hash": model.hash},
        "against": versions[0].label,
        "versions": [
            {
                "label": version.label,
                "kind": version.kind,
                "figures": None if version.figures is None else asdict(version.figures),
                "choices_changed": list(version.changes),
                "layers": [
                    {
                        "layer": error.layer,
                        "type": error.type or "float",
                        "cumulative_sqnr_db": error.cumulative.sqnr_db if error.cumulative else None,
                        "cumulative_cosine": error.cumulative.cosine if error.cumulative else None,
                    }
                    for error in version.layers
                ],
            }
            for version in versions
        ],
    }
    return json.dumps(_plain(body), indent=1, ensure_ascii=False, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    """Without numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def comparison_csv(model: Any, versions: Sequence[ComparedVersion]) -> bytes:
    """Range, scale and zero point of every tensor in every version; the widest channel stands for all."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(_HEAD)
    for version in versions:
        same = version.encodings
        for pair in tensor_pairs(model, same, same, version.layers, version.layers):
            sqnr = pair.our_sqnr
            row = (version.label, pair.layer, pair.op, pair.what, *_fields(pair.ours), sqnr)
            table.writerow(map(csv_cell, row))
    return out.getvalue().encode()


def _fields(found: TensorRange) -> tuple[object, ...]:
    return found.type, found.low, found.high, found.scale, found.zero_point, found.scales
