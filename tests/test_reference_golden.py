"""The reference modes against thresholds that the tools' own code computed.

Records of each mode and each of its parameters come with these tests, in data/tool_thresholds.json. More of
them are in ../shared/reference/golden.json, where that lies beside the checkout: half of those are compared
by default, the other half of the distributions in every second group; QUANTSCOPE_ALL_GOLDEN=1 compares all.
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantscope.core.thresholds.reference import REFERENCES, ReferenceThreshold
from tests.distributions import drawn

EVERY = 1 if os.environ.get("QUANTSCOPE_ALL_GOLDEN") == "1" else 2

# Records of golden.json without a counterpart, and why. The dense-grid optimum is not a tool.
MISSING = {
    "dense-grid-optimum": "no tool",
    "ncnn/eq": "needs the convolution's weights and int8 output, not only the tensor",
    "aimet/tf_minmax": "only known from a binary wheel whose code is not public",
    "mct/tensor_search": "a search for weights",
    "amd-quark/torch_mse": "not reproduced: three candidates, all of them the maximum",
    "amd-quark/torch_percentile": "not reproduced: both bounds at the lower end",
}
# What describes the experiment in a record and is no parameter of ours.
NOT_PARAMETERS = {"batches", "method", "num_files", "shape", "combined_bins"}


EXTRACT = Path(__file__).parent / "data" / "tool_thresholds.json"


def _extract() -> list[dict[str, Any]]:
    """The records that come with these tests, laid out as those of golden.json."""
    content = json.loads(EXTRACT.read_text(encoding="utf-8"))
    found = []
    for group in content["records"]:
        tool, algorithm = group["key"].split("/")
        for tensor, numbers in group["values"].items():
            distribution, seed = tensor.split("/")
            found.append(
                {
                    "tool": tool,
                    "algorithm": algorithm,
                    "version": content["versions"][tool],
                    "params": group["params"],
                    "distribution": distribution,
                    "seed": int(seed),
                    "result": dict(zip(group["fields"], numbers, strict=True)),
                }
            )
    return found


@pytest.fixture(scope="module")
def extract() -> list[dict[str, Any]]:
    return _extract()


@pytest.fixture(scope="module")
def golden(shared: Path) -> list[dict[str, Any]]:
    path = shared / "reference" / "golden.json"
    if not path.is_file():
        pytest.skip("no golden.json in ../shared/reference")
    with path.open(encoding="utf-8") as file:
        return list(json.load(file))


def _key(record: dict[str, Any]) -> str:
    return f"{record['tool']}/{record['algorithm']}"


def _reproduced(record: dict[str, Any]) -> bool:
    if {_key(record), record["tool"]} & set(MISSING):
        return False
    if record["tool"] == "aimet":
        return "C++" in record["version"]  # the wheel's binary is another algorithm, whose code is not public
    return not (record["tool"] == "mct" and record["params"]["error_method"] == "KL")


def _expected(record: dict[str, Any]) -> dict[str, float]:
    """The record's numbers under the names of `ReferenceThreshold`."""
    result = dict(record["result"])
    if record["tool"] == "onnxruntime":
        result |= {"scale": result["u8_scale"], "zero_point": result["u8_zero_point"]}
    if record["tool"] == "amd-quark":  # its scale is the range over 255, also where it has 254 steps
        result.pop("scale", None)
    if record["tool"] == "aimet":
        result["zero_point"] = -result["offset"]
    return {
        name: result[name]
        for name in ("threshold", "low", "high", "scale", "zero_point")
        if result.get(name) is not None
    }


def _compute(record: dict[str, Any], x: Any) -> ReferenceThreshold:
    reference = REFERENCES[_key(record)]
    batches = record["params"].get("batches", 1)
    known = inspect.signature(reference.function).parameters
    parameters = {name: value for name, value in record["params"].items() if name in known}
    assert set(record["params"]) - set(parameters) <= NOT_PARAMETERS | {"bins"}
    return reference.function(np.split(x, batches) if batches > 1 else x, **parameters)


def _difference(record: dict[str, Any], result: ReferenceThreshold) -> float:
    """The largest relative difference; 0 where the printed digits of the record agree."""
    expected = _expected(record)
    if record["tool"] == "ncnn":  # the table has 6 decimals of 127 / T
        assert result.threshold is not None
        printed = f"{np.float32(127) / np.float32(result.threshold):f}"
        return 0.0 if printed == f"{record['result']['inverse_scale']:f}" else 1.0
    worst = 0.0
    span = max(abs(expected.get("low", 0.0)), abs(expected.get("high", 0.0)))
    for name, wanted in expected.items():
        found = getattr(result, name)
        assert found is not None, f"no {name}: {result.error}"
        if record["tool"] in ("MNN", "Tengine"):  # 9 significant digits, or 10 decimals
            if abs(found - wanted) <= max(5.1e-11, 6e-9 * abs(wanted)):
                continue
        elif found == wanted:
            continue
        size = span if name in ("low", "high") else abs(wanted)
        worst = max(worst, abs(found - wanted) / size if size and name != "zero_point" else 1.0)
    return worst


def _compare(key: str, records: list[dict[str, Any]]) -> None:
    exact, wrong = 0, []
    for record in records:
        result = _compute(record, drawn(record["distribution"], record["seed"]))
        assert not result.error, (record["params"], record["distribution"], record["seed"], result.error)
        difference = _difference(record, result)
        exact += difference == 0
        if difference > (0.0 if REFERENCES[key].exact else REFERENCES[key].tolerance):
            wrong.append((record["params"], record["distribution"], record["seed"], difference, result))
    assert len(records) >= 8
    assert not wrong, f"{len(wrong)} of {len(records)} differ, first {wrong[0]}"
    assert exact >= 0.9 * len(records)


def test_every_golden_record_is_reproduced_or_named_as_missing(golden: list[dict[str, Any]]) -> None:
    keys = {_key(record) for record in golden if _reproduced(record)}
    assert keys <= set(REFERENCES)
    assert set(REFERENCES) <= keys, "a reference mode without a record to hold it against"


def test_the_records_here_are_of_every_mode_and_of_every_parameter(golden: list[dict[str, Any]]) -> None:
    def choices(records: list[dict[str, Any]]) -> set[tuple[str, str]]:
        return {(_key(r), json.dumps(r["params"], sort_keys=True)) for r in records if _reproduced(r)}

    assert choices(_extract()) == choices(golden)


@pytest.mark.parametrize("key", list(REFERENCES))
def test_a_reference_mode_gives_the_tools_numbers(key: str, extract: list[dict[str, Any]]) -> None:
    _compare(key, [record for record in extract if _key(record) == key])


@pytest.mark.slow
@pytest.mark.parametrize("key", list(REFERENCES))
def test_a_reference_mode_gives_all_of_the_tools_numbers(key: str, golden: list[dict[str, Any]]) -> None:
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in golden:
        if _key(record) == key and _reproduced(record):
            groups.setdefault(json.dumps(record["params"], sort_keys=True), []).append(record)
    chosen = (group[number % EVERY :: EVERY] for number, (_, group) in enumerate(sorted(groups.items())))
    _compare(key, list(itertools.chain.from_iterable(chosen)))
