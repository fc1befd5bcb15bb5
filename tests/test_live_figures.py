"""What the browser computes while a clip line moves is what the server says of the same range."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantscope.core.calibration import Histogram, histogram_of
from quantscope.core.quant import INT8, INT16, UINT8, QuantSpec, QuantType, Range, ScaleRule
from quantscope.core.recipe import Choice
from quantscope.core.thresholds import Method
from quantscope.ui.components.payload import payload
from quantscope.ui.content.tensor_view import RangeView, view_range
from tests.tensors import degenerate, family

ASKED = """
const cases = JSON.parse(require("fs").readFileSync(0, "utf8")), answers = [];
for (const { data, ranges } of cases) {
  const density = densityOf({ ...data.histogram, total: data.total });
  const S = { spec: data.spec, kl: klOf(data.kl), density };
  answers.push(ranges.map(([low, high]) => figuresOf(S, low, high)));
}
console.log(JSON.stringify(answers));
"""
SPECS = {
    "int8 sym": QuantSpec(type=INT8, symmetric=True),
    "int8 asym": QuantSpec(type=INT8, symmetric=False),
    "uint8 asym": QuantSpec(type=UINT8, symmetric=False),
    "uint8 sym": QuantSpec(type=UINT8, symmetric=True),
    "int16": QuantSpec(type=INT16, symmetric=True),
    "3 bits": QuantSpec(type=QuantType(3, False), symmetric=False),
}
SHARES = (0.002, 0.05, 0.3, 0.499, 0.5, 0.77, 1.0, 1.04)  # of the whole range, kept


def node() -> str:
    """A JavaScript engine: that of the system, or the one that drives the browser tests."""
    found = shutil.which("node")
    if found is None:
        playwright = pytest.importorskip("playwright")
        found = str(Path(playwright.__file__).parent / "driver" / "node")
    return found


def asked(folder: Path, cases: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Figures of the chart's own script for ranges of each case."""
    parts = [(folder / name).read_text(encoding="utf-8") for name in ("scales.js", "exact.js")]
    done = subprocess.run(
        [node(), "-e", "\n".join([*parts, ASKED])],
        input=json.dumps(cases, allow_nan=False),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return answers


def tensors() -> dict[str, Histogram]:
    pixels = np.random.default_rng(5).random(20_000)
    pixels[:400] = 1.0  # a pile at one value: every line that crosses it clips 2 % at once
    pixels[:6] = 64.0
    drawn = {name: histogram_of(family(name)) for name in ("normal", "relu", "laplace")}
    odd = {f"odd {name}": histogram_of(values) for name, values in degenerate().items()}
    return {"stuck pixels": histogram_of(pixels), **drawn, **odd}


def ranges(h: Histogram, spec: QuantSpec) -> list[tuple[float, float]]:
    """Places of a clip line, as the chart sends them."""
    reach, low = h.abs_max or 1.0, min(h.min, 0.0)
    high = max(h.max, 0.0) or reach
    if spec.symmetric:
        one_sided = h.min >= 0.0 and not spec.type.signed
        return [(0.0 if one_sided else -share * reach, share * reach) for share in SHARES]
    return [(low, share * high) for share in SHARES] + [(share * low, 0.6 * high) for share in SHARES]


def seen(h: Histogram, spec: QuantSpec, range_: tuple[float, float]) -> RangeView:
    choice = Choice(method=Method.MANUAL, range=Range(*range_))
    return view_range(h, spec, choice, name="x", methods=())


def close(browser: float | None, server: float | None, *, within: float) -> bool:
    if browser is None or server is None:
        return browser is server
    return browser == pytest.approx(server, rel=within, abs=1e-300)


@pytest.mark.parametrize("rule", list(ScaleRule))
@pytest.mark.parametrize("kind", SPECS)
def test_live_figures_are_the_settled_ones(repo_root: Path, kind: str, rule: ScaleRule) -> None:
    """Clipped shares to the last value, errors to the rounding of float64."""
    spec = replace(SPECS[kind], scale_rule=rule)
    given = [(name, h, ranges(h, spec)) for name, h in tensors().items()]
    cases = [{"data": payload(seen(h, spec, r[0]), seq=0), "ranges": r} for _, h, r in given]
    answers = asked(repo_root / "ui/components/threshold", cases)
    compared = 0
    for (name, h, places), found in zip(given, answers, strict=True):
        for place, live in zip(places, found, strict=True):
            settled = payload(seen(h, spec, place), seq=0)
            exact, figures = settled["exact"], live["figures"]
            where = (name, place)
            assert live["kept"] == pytest.approx(settled["kept"], rel=1e-12), where
            assert close(figures["share"], exact["share"], within=1e-9), where
            noise = exact["mse"] * 1e-6 + (h.abs_max**2) * 1e-13  # sums of squares cancel
            for part in ("mse", "clipping", "rounding"):
                assert abs(figures[part] - exact[part]) <= noise, (*where, part)
            assert figures["cosine"] == pytest.approx(exact["cosine"], abs=1e-7), where
            assert (
                close(figures["kl"], exact["kl"], within=1e-6) or abs(figures["kl"] - exact["kl"]) < 1e-8
            ), where
            if exact["mse"] > h.abs_max**2 * 1e-9:
                assert figures["sqnr"] == pytest.approx(exact["sqnr"], abs=1e-3), where
            compared += 1
    assert compared > 100


def test_a_line_that_crosses_a_pile_of_values_tells_them_at_once(repo_root: Path) -> None:
    """2 % of the pixels are exactly 1: a line just below clips them, one just above does not."""
    pixels = np.random.default_rng(5).random(20_000)
    pixels[:400], pixels[:6] = 1.0, 64.0
    h, spec = histogram_of(pixels), SPECS["uint8 asym"]
    places = [(0.0, 1.0 - h.width), (0.0, 1.0 + h.width), (0.0, 1.013)]
    data = payload(seen(h, spec, places[0]), seq=0)
    (found,) = asked(repo_root / "ui/components/threshold", [{"data": data, "ranges": places}])
    below, above, far = (entry["figures"]["share"] for entry in found)
    assert below > 0.02
    assert above < 0.0012
    assert far == pytest.approx(6 / 20_000, rel=1e-6)
