"""What the pictures of a story show is taken from the model itself, and small enough to be sent."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from quantscope.core.calibration import calibrate
from quantscope.core.data import open_samples
from quantscope.core.model import load_model
from quantscope.core.quantize import quantize_model, resolve
from quantscope.core.recipe import Recipe
from quantscope.ui.content.sample_kinds import Drawing, InputDrawing, InputKind
from quantscope.ui.content.sample_parts import NumbersPart, PicturePart
from quantscope.ui.content.story_images import LETTERS, MOST, shots_of, smaller, text_of
from quantscope.ui.content.story_tensor import example_weight, telling, values_of
from tests.graphs import model, node, randn, value


def network(folder: Path, outlier: float) -> tuple[Path, Path]:
    """Two convolutions, and an input of which a few values are far away from all others."""
    proto = model(
        [
            node("Conv", ["x", "w1"], ["a"], name="first", pads=[1, 1, 1, 1]),
            node("Conv", ["a", "w2"], ["y"], name="second", pads=[1, 1, 1, 1]),
        ],
        [value("x", ["N", 3, 8, 8])],
        [value("y", ["N", 4, 8, 8])],
        {"w1": 0.01 * randn(4, 3, 3, 3), "w2": randn(4, 4, 3, 3, seed=1)},
    )
    onnx.save(proto, folder / "net.onnx")
    x = np.random.default_rng(0).uniform(-1, 1, (64, 3, 8, 8)).astype(np.float32)
    x[0, 0, 0, 0] = outlier
    np.savez(folder / "data.npz", x=x)
    return folder / "net.onnx", folder / "data.npz"


def test_pictures_show_the_tensor_with_the_furthest_outliers(tmp_path: Path) -> None:
    path, data = network(tmp_path, 90.0)
    net = load_model(path)
    statistics = calibrate(net, open_samples(data, net))
    encodings = resolve(Recipe(), statistics, net)
    assert telling(net, statistics, encodings) == ("x", "x")
    found = values_of(net, statistics, encodings, None)
    assert found is not None
    assert found.is_input
    assert found.histogram.max == 90.0
    assert float(found.now.high) == pytest.approx(90.0, rel=0.01)
    nothing = resolve(Recipe().with_default(precision="float"), statistics, net)
    assert values_of(net, statistics, nothing, None) is None
    assert example_weight(net, nothing) is None


def test_the_number_that_is_shown_is_stored_in_the_file(tmp_path: Path) -> None:
    path, data = network(tmp_path, 1.0)
    net = load_model(path)
    encodings = resolve(Recipe(), calibrate(net, open_samples(data, net)), net)
    found = example_weight(net, encodings)
    assert found is not None
    arrays = {t.name: numpy_helper.to_array(t) for t in quantize_model(net, encodings).graph.initializer}
    stored = next(
        array for array in arrays.values() if array.dtype == np.int8 and array.shape == (4, 3, 3, 3)
    )
    floats = 0.01 * randn(4, 3, 3, 3)
    at = np.unravel_index(int(np.argmin(np.abs(floats - found.value))), floats.shape)
    assert floats[at] == pytest.approx(found.value)
    assert int(stored[at]) == found.stored
    assert found.bits == 8


def picture(caption: str, size: int = 16, *, square: bool = True) -> PicturePart:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size, size, 3)).astype(np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    src = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return PicturePart(caption=caption, src=src, alt="", width=size, height=size, square=square)


def test_what_goes_in_and_what_each_network_makes_of_it_stand_side_by_side() -> None:
    parts = [picture(name) for name in ("input", "original", "int8", "int8 − float")]
    assert [shot.caption for shot in shots_of(parts, ("original", "int8"))] == ["input", "original", "int8"]
    named = [picture("x"), picture("mask · original"), picture("mask · int8")]
    assert len(shots_of(named, ("original", "int8"))) == 3
    numbers = NumbersPart(caption="y", models=("original", "int8"), rows=())
    assert shots_of([picture("input"), numbers], ("original", "int8")) == ()


def test_a_strip_of_numbers_is_no_picture() -> None:
    strip = io.BytesIO()
    Image.new("RGB", (256, 2)).save(strip, "PNG")
    src = "data:image/png;base64," + base64.b64encode(strip.getvalue()).decode("ascii")
    parts = [replace(picture(name), src=src, width=256, height=2) for name in ("state", "original", "int8")]
    assert shots_of(parts, ("original", "int8")) == ()


def test_large_pictures_become_small_and_small_ones_stay() -> None:
    small = picture("a").src
    assert smaller(small, square=True) == small
    for square in (True, False):
        found = smaller(picture("a", 1000).src, square=square)
        image = Image.open(io.BytesIO(base64.b64decode(found.partition(",")[2])))
        assert max(image.size) == MOST
    assert len(smaller(picture("a", 1000).src, square=False)) < 200_000


def test_texts_are_shown_as_they_are_written() -> None:
    def begins(kind: InputKind, numbers: list[int], vocabulary: tuple[str, ...] = ()) -> str:
        drawing = Drawing(inputs={"ids": InputDrawing(kind=kind)})
        return text_of({"ids": np.array(numbers)}, drawing, vocabulary)

    assert begins(InputKind.TOKENS, [1, 2, 0], ("home", "play", "##ing")) == "playing home"
    assert begins(InputKind.TOKENS, [1, 2, 0], ("▁home", "▁play", "ing")) == "playing home"
    assert begins(InputKind.TOKENS, [1, 2, 0]) == ""  # numbers tell an audience nothing
    assert begins(InputKind.BYTES, [*b"int  main()", 256]) == "int main()"
    long = begins(InputKind.BYTES, [97] * 500)
    assert long.endswith("a…")
    assert len(long) == LETTERS + 1
    assert begins(InputKind.VALUES, [1, 2]) == ""
