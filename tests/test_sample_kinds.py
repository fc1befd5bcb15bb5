"""What samples and outputs are taken for, pictures of them, and boxes decoded from what detectors give."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from quantscope.ui.content.sample_boxes import (
    LEAST_SCORE,
    OVERLAP,
    Box,
    BoxFormat,
    BoxHead,
    decode,
    find_head,
    matched,
    overlaps,
)
from quantscope.ui.content.sample_kinds import (
    Drawing,
    InputDrawing,
    InputKind,
    Layout,
    OutputKind,
    PixelRange,
    drawing_from_json,
    drawing_to_json,
    guess_inputs,
    guess_outputs,
)
from quantscope.ui.content.sample_pictures import (
    DIFFERENCE,
    HEAT,
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    LARGEST,
    MARK,
    Picture,
    agreement_picture,
    class_colours,
    class_picture,
    difference_picture,
    heat_picture,
    picture,
    plane_of,
    size_of,
)

RNG = np.random.default_rng(0)


def pixels(drawn: Picture) -> np.ndarray:
    """What the browser shows."""
    data = base64.b64decode(drawn.src.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def smooth(*shape: int) -> np.ndarray:
    """Something that is as smooth as photographs are, from 0 to 1."""
    y, x = np.mgrid[0 : shape[-2], 0 : shape[-1]]
    plane = 0.5 + 0.5 * np.sin(x / 5) * np.cos(y / 7)
    return np.broadcast_to(plane, shape).astype(np.float32)


def guessed(*rows: np.ndarray, name: str = "x") -> InputDrawing:
    return guess_inputs([{name: row} for row in rows])[name]


@pytest.mark.parametrize(
    ("row", "kind", "layout", "span"),
    [
        (smooth(3, 32, 40), InputKind.IMAGE, Layout.FIRST, PixelRange.UNIT),
        (np.moveaxis(smooth(3, 32, 40), 0, 2), InputKind.IMAGE, Layout.LAST, PixelRange.UNIT),
        (smooth(1, 28, 28) * 255, InputKind.IMAGE, Layout.FIRST, PixelRange.BYTE),
        ((smooth(3, 32, 32) * 255).astype(np.uint8), InputKind.IMAGE, Layout.FIRST, PixelRange.BYTE),
        (smooth(3, 32, 32) * 2 - 1, InputKind.IMAGE, Layout.FIRST, PixelRange.SIGNED),
        (smooth(3, 32, 32) * 4.4 - 2, InputKind.IMAGE, Layout.FIRST, PixelRange.IMAGENET),
        (smooth(3, 32, 32) * 240 - 120, InputKind.IMAGE, Layout.FIRST, PixelRange.CENTRED),
        (smooth(3, 32, 32) * 9000 - 3000, InputKind.IMAGE, Layout.FIRST, PixelRange.EACH),
    ],
)
def test_images_with_their_layout_and_values(
    row: np.ndarray, kind: InputKind, layout: Layout, span: PixelRange
) -> None:
    found = guessed(row)
    assert (found.kind, found.layout, found.range) == (kind, layout, span)


def test_a_few_values_far_outside_do_not_change_the_range() -> None:
    row = smooth(1, 32, 32).copy()
    row[0, 3, 4] = 64.0
    found = guessed(row)
    assert found.range is PixelRange.UNIT
    drawn = picture(row, found)
    assert drawn.beyond == 1
    assert tuple(pixels(drawn)[3, 4]) == MARK


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (smooth(28, 28).reshape(-1), InputKind.IMAGE),
        (RNG.standard_normal(784).astype(np.float32), InputKind.SIGNAL),
        (np.abs(RNG.standard_normal(784)).astype(np.float32), InputKind.SIGNAL),
        (np.arange(12), InputKind.TOKENS),
        (RNG.integers(0, 257, 500).astype(np.int32), InputKind.BYTES),
        (RNG.integers(0, 30_000, 500), InputKind.TOKENS),
        (np.array(16_000), InputKind.VALUES),
        (np.zeros((80, 200), np.float32), InputKind.MAP),
        (np.zeros((2, 400), np.float32), InputKind.SIGNAL),
        (np.zeros(7, np.float32), InputKind.VALUES),
        (np.zeros((64, 12, 12), np.float32), InputKind.MAP),
    ],
)
def test_what_is_no_plain_image(row: np.ndarray, kind: InputKind) -> None:
    assert guessed(row).kind is kind


def test_spectrograms_are_no_images() -> None:
    assert guessed(smooth(1, 80, 200), name="mel_spectrogram").kind is InputKind.MAP


def test_what_is_the_same_for_every_sample_is_not_shown() -> None:
    rows = [{"x": RNG.standard_normal(576), "state": np.zeros(128), "sr": np.array(16_000)} for _ in range(3)]
    found = guess_inputs(rows)
    assert found["x"].kind is InputKind.SIGNAL
    assert found["state"].kind is found["sr"].kind is InputKind.HIDDEN


IMAGE = {"x": InputDrawing(kind=InputKind.IMAGE)}
TOKENS = {"x": InputDrawing(kind=InputKind.TOKENS)}


@pytest.mark.parametrize(
    ("value", "inputs", "image", "kind"),
    [
        (np.zeros((21, 64, 64), np.float32), IMAGE, (64, 64, 3), OutputKind.CLASS_MAP),
        (np.zeros((64, 64), np.int64), IMAGE, (64, 64, 3), OutputKind.CLASS_MAP),
        (np.zeros((3, 192, 192), np.float32), IMAGE, (64, 64, 3), OutputKind.IMAGE),
        (np.zeros((1, 192, 192), np.float32), IMAGE, (64, 64, 1), OutputKind.IMAGE),
        (np.zeros((1, 64, 64), np.float32), IMAGE, (64, 64, 3), OutputKind.MAP),
        (np.zeros((24, 40), np.float32), TOKENS, None, OutputKind.MAP),
        (np.zeros(300, np.float32), IMAGE, (64, 64, 3), OutputKind.SIGNAL),
        (np.zeros(3, np.float32), IMAGE, (64, 64, 3), OutputKind.VALUES),
        (np.array(["a"]), IMAGE, (64, 64, 3), OutputKind.HIDDEN),
    ],
)
def test_outputs(
    value: np.ndarray,
    inputs: dict[str, InputDrawing],
    image: tuple[int, int, int] | None,
    kind: OutputKind,
) -> None:
    assert guess_outputs({"y": value}, inputs, {}, image, None, False, frozenset()) == {"y": kind}


def test_class_scores_are_what_was_scored() -> None:
    value = np.zeros((6, 16, 16), np.float32)
    assert (
        guess_outputs({"y": value}, IMAGE, {}, (16, 16, 3), "y", True, frozenset())["y"]
        is OutputKind.CLASS_MAP
    )
    tokens = guess_outputs({"y": value[0]}, TOKENS, {}, None, "y", True, frozenset())
    assert tokens["y"] is OutputKind.TOKEN_CLASSES
    whole = guess_outputs({"y": value[0, 0]}, IMAGE, {}, (16, 16, 3), "y", False, frozenset())
    assert whole["y"] is OutputKind.CLASSES


def test_an_output_of_the_inputs_shape_is_no_class() -> None:
    row = np.zeros(640, np.float32)
    inputs = {"x": InputDrawing(kind=InputKind.SIGNAL)}
    found = guess_outputs({"y": row}, inputs, {"x": row}, None, "y", False, frozenset())
    assert found["y"] is OutputKind.SIGNAL
    found = guess_outputs({"y": row[:10]}, inputs, {"x": row}, None, "y", False, frozenset())
    assert found["y"] is OutputKind.CLASSES


def test_a_drawing_is_kept_as_far_as_it_fits() -> None:
    guess = Drawing(inputs={"x": InputDrawing(kind=InputKind.IMAGE)}, outputs={"y": OutputKind.MAP})
    one = InputDrawing(kind=InputKind.IMAGE, layout=Layout.LAST, range=PixelRange.IMAGENET, bgr=True)
    said = Drawing(inputs={"x": one}, outputs={"y": OutputKind.CLASS_MAP})
    body = json.loads(json.dumps(drawing_to_json(said)))
    assert drawing_from_json(body, guess) == said
    other = Drawing(inputs={"z": one}, outputs={"y": OutputKind.MAP})
    assert drawing_from_json(body, other).inputs == other.inputs
    for broken in (
        {},
        {"inputs": 3},
        {"inputs": {"x": {"kind": "?"}}},
        {"inputs": {}, "outputs": {"y": "?"}},
    ):
        assert drawing_from_json(broken, guess) == guess


# --- pictures ---


@pytest.mark.parametrize("layout", [Layout.FIRST, Layout.LAST])
@pytest.mark.parametrize("bgr", [False, True])
def test_a_picture_shows_the_values(layout: Layout, bgr: bool) -> None:
    shown = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    values = shown[:, :, ::-1] if bgr else shown
    row = np.moveaxis(values, 2, 0) if layout is Layout.FIRST else values
    for span, scaled in (
        (PixelRange.BYTE, row),
        (PixelRange.UNIT, row / np.float32(255)),
        (PixelRange.SIGNED, row / np.float32(127.5) - 1),
        (PixelRange.CENTRED, row.astype(np.float32) - np.float32(127.5)),
    ):
        drawing = InputDrawing(kind=InputKind.IMAGE, layout=layout, range=span, bgr=bgr)
        np.testing.assert_array_equal(pixels(picture(scaled, drawing)), shown)
        assert size_of(scaled, drawing) == (6, 9, 3)


def test_imagenet_statistics_are_undone() -> None:
    shown = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    row = np.moveaxis((shown / 255 - IMAGENET_MEAN) / IMAGENET_DEVIATION, 2, 0)
    drawing = InputDrawing(kind=InputKind.IMAGE, range=PixelRange.IMAGENET)
    np.testing.assert_array_equal(pixels(picture(row, drawing)), shown)


def test_large_pictures_are_made_smaller_and_keep_their_form() -> None:
    drawn = picture(smooth(3, 1200, 600), InputDrawing(kind=InputKind.IMAGE))
    assert (drawn.height, drawn.width) == (1200, 600)
    assert pixels(drawn).shape == (LARGEST, LARGEST // 2, 3)


def test_values_that_are_not_finite_have_a_picture() -> None:
    row = np.full((3, 5, 5), np.nan, np.float32)
    assert pixels(picture(row, InputDrawing(kind=InputKind.IMAGE, range=PixelRange.EACH))).shape == (5, 5, 3)
    assert len(np.unique(pixels(heat_picture(row[0], 0.0, 1.0)))) == 1


def test_classes_have_colours_of_their_own() -> None:
    colours = class_colours(40)
    assert len({tuple(colour) for colour in colours}) == 40
    classes = RNG.integers(0, 40, (8, 8))
    np.testing.assert_array_equal(pixels(class_picture(classes)), colours[classes])
    other = classes.copy()
    other[2, 3] += 1
    differs = np.all(pixels(agreement_picture(classes, other)) == MARK, axis=2)
    assert np.argwhere(differs).tolist() == [[2, 3]]


def test_heat_goes_from_end_to_end() -> None:
    ends = pixels(heat_picture(np.array([[-3.0, 5.0]]), -3.0, 5.0))[0]
    assert [tuple(end) for end in ends] == [HEAT[0], HEAT[-1]]
    signs = pixels(difference_picture(np.array([[-2.0, 0.0, 2.0]]), 2.0))[0]
    assert [tuple(sign) for sign in signs] == [DIFFERENCE[0], DIFFERENCE[2], DIFFERENCE[-1]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=0, max_size=4))
def test_any_array_is_a_plane(shape: list[int]) -> None:
    values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    plane = plane_of(values)
    assert plane.ndim == 2
    assert plane.shape[0] <= 3 * plane.shape[1]
    kept = plane[np.isfinite(plane)]
    np.testing.assert_array_equal(np.sort(kept), values.ravel())


# --- boxes ---

SIDES = (120, 160)
TRUE = np.array([[40.0, 60, 20, 30], [120, 30, 40, 20]])  # centre and size in pixels


def head(columns: int, extra: int = 0) -> np.ndarray:
    """Rows as YOLO has them: background, but for two things."""
    rows = np.full((200, 4 + extra + columns), 0.01)
    rows[:, :2] = RNG.uniform(5, 100, (200, 2))
    rows[:, 2:4] = RNG.uniform(5, 30, (200, 2))
    rows[10, :4], rows[90, :4] = TRUE
    if extra:
        rows[:, 4] = 0.001
        rows[[10, 90], 4] = 0.9
        rows[:, 5:] = 0.5
    rows[10, 4 + extra + 1] = rows[90, 4 + extra + 2] = 0.95
    rows[11] = rows[10]
    rows[11, :2] += 1.0  # the same thing again, a little worse
    rows[11, 4 + extra + 1] = 0.9
    return rows.astype(np.float32)


@pytest.mark.parametrize(
    ("value", "format"),
    [
        (head(5).T, BoxFormat.HEAD_FIRST),
        (head(5), BoxFormat.HEAD_LAST),
        (head(5, extra=1), BoxFormat.HEAD_OBJECT),
    ],
)
def test_heads_of_yolo(value: np.ndarray, format: BoxFormat) -> None:
    found = find_head({"y": value}, SIDES)
    assert found == BoxHead(format=format, boxes="y")
    boxes = decode(found, {"y": value}, SIDES)
    assert {box.number for box in boxes} == {1, 2}
    assert len(boxes) == 2
    for box in boxes:
        x, y, width, height = TRUE[box.number - 1]
        assert box.x0 * 160 == pytest.approx(x - width / 2, abs=1e-3)
        assert box.y1 * 120 == pytest.approx(y + height / 2, abs=1e-3)


def test_boxes_with_scores_of_each_leave_background_out() -> None:
    corners = RNG.uniform(0, 0.5, (50, 2))
    boxes = np.concatenate([corners, corners + 0.2], axis=1).astype(np.float32)
    scores = np.tile(np.array([[0.99, 0.01]], np.float32), (50, 1))
    scores[7] = 0.1, 0.9
    outputs = {"scores": scores, "boxes": boxes}
    found = find_head(outputs, SIDES)
    assert found is not None
    assert found.format is BoxFormat.CORNERS
    (box,) = decode(found, outputs, SIDES)
    assert (box.number, box.score) == (1, pytest.approx(0.9))
    assert (box.x0, box.y1) == (pytest.approx(boxes[7, 0]), pytest.approx(boxes[7, 3]))


def test_selected_boxes_with_classes() -> None:
    boxes = np.array([[0.1, 0.2, 0.4, 0.6], [0, 0, 1, 1], [0, 0, 0, 0]], np.float32)
    outputs = {
        "detection_boxes": boxes,
        "detection_classes": np.array([3.0, 2.0, 1.0], np.float32),
        "detection_scores": np.array([0.9, 0.4, 0.0], np.float32),
    }
    found = find_head(outputs, SIDES)
    assert found is not None
    assert (found.format, found.classes) == (BoxFormat.SELECTED, "detection_classes")
    first, second = decode(found, outputs, SIDES)
    assert (first.x0, first.y0, first.x1, first.y1) == pytest.approx((0.2, 0.1, 0.6, 0.4))  # y comes first
    assert (first.number, second.number) == (3, 2)


@pytest.mark.parametrize("value", [RNG.standard_normal((200, 9)), np.zeros((4, 300)), np.full((80, 12), 0.5)])
def test_what_holds_no_boxes_is_left_alone(value: np.ndarray) -> None:
    assert find_head({"y": value.astype(np.float32)}, SIDES) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_kept_boxes_do_not_overlap(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 0.6, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.05, 0.4, (count, 2))], axis=1)
    scores = rng.uniform(0, 1, (count, 3))
    kept = decode(BoxHead(format=BoxFormat.CORNERS, boxes="b", scores="s"), {"b": boxes, "s": scores}, SIDES)
    assert all(box.score >= LEAST_SCORE for box in kept)
    assert [box.score for box in kept] == sorted((box.score for box in kept), reverse=True)
    for at, box in enumerate(kept):
        for other in kept[:at]:
            if box.number == other.number:
                table = overlaps(*(np.array([[b.x0, b.y0, b.x1, b.y1]]) for b in (box, other)))
                assert table[0, 0] < OVERLAP
    assert all(matched(kept, kept))
    assert not any(matched([], kept))


def test_overlap_of_known_boxes() -> None:
    one = np.array([[0.0, 0, 2, 2]])
    others = np.array([[1.0, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 0, 0]])
    np.testing.assert_allclose(overlaps(one, others), [[1 / 7, 1, 0, 0]])


def test_a_box_of_another_class_is_no_match() -> None:
    box = Box(x0=0, y0=0, x1=1, y1=1, score=0.9, number=1)
    other = Box(x0=0, y0=0, x1=1, y1=1, score=0.9, number=2)
    assert matched([box], [other, box]) == [False, True]
