"""The keys of every command's --json and their order, which scripts rely on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantscope.sample_data import SAMPLES
from tests.support import Run

MLP = SAMPLES["digits_mlp"]
RECORDED = Path(__file__).with_name("cli_json_keys.json")
RECORD = os.environ.get("QUANTSCOPE_RECORD") == "1"  # write what is found rather than compare with it
OPEN = ("figures", "changes", "parameters")  # mappings whose keys are the case's own
# What only processors without VNNI have.
BY_PROCESSOR = ("default_session.", "comparison.default_session.")

DATA = ("--data", MLP.calibration, "--limit", "24")
CASES: dict[str, tuple[object, ...]] = {
    "inspect": ("inspect", MLP.model),
    "inspect a quantized model": ("inspect", "{quantized}"),
    "calibrate": ("calibrate", MLP.model, *DATA, "-o", "{folder}/s.npz"),
    "quantize": ("quantize", MLP.model, *DATA, "-o", "{folder}/a.onnx", "--save-recipe", "{folder}/a.yaml"),
    "quantize --report": (
        "quantize",
        MLP.model,
        *DATA,
        *("--method", "minmax", "--report", "-o", "{folder}/b.onnx"),
    ),
    "tune --min-sqnr": (
        "tune",
        MLP.model,
        *DATA,
        *("--min-sqnr", "20", "--precisions", "int8,float", "-o", "{folder}/t.yaml"),
    ),
    "sensitivity --measure": ("sensitivity", MLP.model, *DATA, "--measure"),
    "sensitivity --kind op-type": ("sensitivity", MLP.model, *DATA, "--kind", "op-type"),
    "compare": ("compare", MLP.model, "{quantized}", *DATA),
    "thresholds": ("thresholds", "{folder}/x.npy"),
    "thresholds --reference": ("thresholds", "{folder}/x.npy", "--reference"),
    "doctor": ("doctor",),
}


def paths(value: Any, before: str = "") -> dict[str, None]:
    """Each key with those above it, in order; `[]` stands for all items of a list together."""
    found: dict[str, None] = {}
    if isinstance(value, Mapping):
        for name, item in value.items():
            key = "TOOL/ALGORITHM" if "/" in name else name
            found[before + key] = None
            opened = "" if key in OPEN else f"{before}{key}."
            found |= paths(item, opened) if opened else {}
    elif isinstance(value, list):
        for item in value:
            found |= paths(item, f"{before.removesuffix('.')}[].")
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_keys_of_the_json(quantscope: Run, tmp_path: Path, case: str) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).laplace(0.3, 1.0, 2000).astype(np.float32))
    quantized = tmp_path / "q.onnx"
    quantscope("quantize", MLP.model, *DATA, "--method", "minmax", "--asymmetric", "-o", quantized)
    words = [str(word).format(folder=tmp_path, quantized=quantized) for word in CASES[case]]
    done = quantscope(*words, "--json")
    assert done.code == 0, done.err
    found = [path for path in paths(done.json) if not path.startswith(BY_PROCESSOR)]
    if RECORD:
        known = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
        text = json.dumps({**known, case: found}, indent=1)
        RECORDED.write_text(text + "\n", encoding="utf-8")
    assert found == json.loads(RECORDED.read_text(encoding="utf-8"))[case]


def test_every_command_with_json_is_recorded(quantscope: Run) -> None:
    listed = quantscope("--help").out.split("Commands:")[1].splitlines()
    commands = {line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "}
    assert len(commands) > 5
    with_json = {command for command in commands if "--json" in quantscope(command, "--help").out}
    assert {case.split()[0] for case in CASES} == with_json
    assert list(json.loads(RECORDED.read_text(encoding="utf-8"))) == list(CASES)
