"""What the browser is given to draw: fitted densities as counts that can be compared with the bins."""

from __future__ import annotations

import numpy as np
import pytest

from quantscope.core.calibration import histogram_of
from quantscope.core.quant import INT8, QuantSpec
from quantscope.core.recipe import Choice
from quantscope.core.thresholds import Family, Method, fits
from quantscope.ui.components.payload import BINS, payload
from quantscope.ui.content.tensor_view import view_range
from tests.tensors import degenerate, family

SPEC = QuantSpec(type=INT8, symmetric=True)
DEGENERATE = degenerate()


def shown(values: np.ndarray) -> dict[str, object]:
    seen = view_range(histogram_of(values), SPEC, Choice(method=Method.MINMAX), name="x")
    return payload(seen, seq=0)


@pytest.mark.parametrize(
    ("kind", "best"),
    [("normal", Family.GAUSS), ("laplace", Family.LAPLACE), ("relu", Family.GAUSS)],
)
def test_fits_expect_what_is_there(kind: str, best: Family) -> None:
    values = family(kind)
    data = shown(values)
    whole = data["histogram"]
    width = int(data["bins"]["width"] / 2.0 ** whole["exponent"])  # in the histogram's bins
    places = (whole["first"] + np.arange(len(whole["counts"]))) // width
    counts = np.bincount(places - int(data["bins"]["start"] / data["bins"]["width"]), whole["counts"])
    assert counts.size <= BINS
    first, second = data["fits"]
    assert first["family"] is best
    assert {first["family"], second["family"]} == set(Family)
    assert first["distance"] <= second["distance"]
    expected = np.array(first["expected"])
    assert expected.size == counts.size
    assert expected.sum() == pytest.approx(np.count_nonzero(values), rel=0.01)
    gap = np.abs(np.cumsum(expected) - np.cumsum(counts)).max() / counts.sum()
    assert gap == pytest.approx(first["distance"], abs=0.01)
    own = fits(histogram_of(values))[0]
    assert (first["center"], first["spread"]) == (own.center, own.spread)
    assert first["label"] == ("half Gauss" if kind == "relu" else best.value)


@pytest.mark.parametrize("name", DEGENERATE)
def test_any_tensor_can_be_drawn(name: str) -> None:
    data = shown(DEGENERATE[name])
    for fit in data["fits"]:
        assert np.isfinite([fit["center"], fit["spread"], fit["distance"], *fit["expected"]]).all()
        assert 0 < len(fit["expected"]) <= BINS
    if not np.any(np.isfinite(DEGENERATE[name]) & (DEGENERATE[name] != 0.0)):
        assert data["fits"] == []
