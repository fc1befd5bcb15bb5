"""Lists of samples, cards, classes and names: what the comparison by sample shows, as plain data."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from quantscope.core.errors import DataError
from quantscope.core.evaluate import Answers, BySample, ClassPairs, Errors, VersionBySample
from quantscope.core.evaluate.confusions import pairs_of
from quantscope.ui.content import sample_lines, sample_list, sample_parts
from quantscope.ui.content.sample_boxes import BoxFormat, BoxHead
from quantscope.ui.content.sample_cards import Look, SampleRow, Words, card
from quantscope.ui.content.sample_classes import class_figures
from quantscope.ui.content.sample_differences import difference_of
from quantscope.ui.content.sample_kinds import Drawing, InputDrawing, InputKind, OutputKind
from quantscope.ui.content.sample_list import Filter, Order, View
from quantscope.ui.content.sample_names import class_name, token_word, words_of
from quantscope.ui.figures.sample_classes import classes_figure, matrix_figure

LABELS = np.array([0, 1, 2, 0, 1, 2])
FLOAT = np.array([0, 1, 2, 0, 0, 2])  # wrong on sample 4
FIRST = np.array([1, 1, 0, 0, 1, 2])  # loses 0 and 2, gains 4
SECOND = np.array([0, 1, 0, 2, 0, 2])  # brings 0 back, loses 3 anew
SQNR = np.array([[3.0], [30.0], [2.0], [20.0], [10.0], [math.inf]])


def answers(classes: np.ndarray, labels: np.ndarray | None) -> Answers:
    rows = len(classes)
    right = np.full(rows, np.nan) if labels is None else (classes == labels).astype(float)
    scores = np.stack([np.full(rows, 0.6), np.linspace(0.1, 0.5, rows)], axis=1)
    return Answers(
        top=np.stack([classes, (classes + 1) % 3], axis=1).astype(np.int32),
        scores=scores.astype(np.float32),
        right=right.astype(np.float32),
    )


def version(classes: np.ndarray, labels: np.ndarray | None) -> VersionBySample:
    return VersionBySample(
        answers=answers(classes, labels),
        errors=Errors(
            sqnr_db=SQNR,
            max_abs=np.ones((6, 1)),
            equal=np.full((6, 1), np.nan),
            same=(classes == FLOAT).astype(np.float32),
            differing=np.full(6, np.nan, np.float32),
        ),
        pairs=pairs_of(FLOAT, classes),
    )


def compared(labels: np.ndarray | None = LABELS) -> BySample:
    pairs: tuple[ClassPairs | None, ...] = (None, None, None)
    if labels is not None:
        pairs = tuple(pairs_of(labels, classes) for classes in (FLOAT, FIRST, SECOND))
    return BySample(
        outputs=("y",),
        scored="y",
        classes=3,
        positions=False,
        labels=labels,
        floats=answers(FLOAT, labels),
        label_pairs=pairs,
        versions=(version(FIRST, labels), version(SECOND, labels)),
    )


def rows(view: View, which: Filter, order: Order = Order.DATA, **more: int) -> list[int]:
    return sample_list.listed(view, which, order, **more).tolist()


def test_filters_against_float() -> None:
    view = View(found=compared(), shown=0)
    assert rows(view, Filter.ALL) == list(range(6))
    assert rows(view, Filter.CHANGED) == [0, 2, 4]
    assert rows(view, Filter.LOST) == [0, 2]
    assert rows(view, Filter.GAINED) == [4]
    assert rows(view, Filter.WRONG) == [0, 2]
    assert rows(view, Filter.CHANGED, number=0) == [0]
    counts = {choice.filter: choice.count for choice in sample_list.choices(view, "int8", "")}
    assert counts == {
        Filter.ALL: 6,
        Filter.CHANGED: 3,
        Filter.LOST: 2,
        Filter.GAINED: 1,
        Filter.WRONG: 2,
    }


def test_filters_against_another_version() -> None:
    view = View(found=compared(), shown=1, before=0)
    assert rows(view, Filter.BACK) == [0]
    assert rows(view, Filter.BROKEN) == [3]
    said = sample_list.against(view, "B", "A")
    assert said == "Of 2 answers that A loses, B brings back 1, and loses 1 that A has right."


def test_orders() -> None:
    view = View(found=compared(), shown=0)
    assert rows(view, Filter.ALL, Order.CHANGED) == [2, 0, 4, 3, 1, 5]  # lost, other changes, then by error
    assert rows(view, Filter.ALL, Order.SQNR) == [2, 0, 4, 3, 1, 5]
    assert rows(view, Filter.ALL, Order.CLOSE) == [5, 4, 3, 2, 1, 0]
    assert sample_list.orders(view) == tuple(Order)


def test_sentences() -> None:
    found = compared()
    said = sample_list.summary(View(found=found, shown=0), "A", "6 evaluation samples")
    assert said == (
        "A answers otherwise than float on 3 of 6 evaluation samples: 2 that float gets right are wrong, "
        "1 that it gets wrong is right."
    )
    same = replace(found, versions=(version(FLOAT, LABELS),))
    said = sample_list.summary(View(found=same, shown=0), "A", "6 evaluation samples")
    assert said == "A gives the float model's answer on all 6 evaluation samples."
    unknown = View(found=compared(None), shown=0)
    assert "no labels" in sample_list.summary(unknown, "A", "6 samples")
    plain = View(found=replace(found, scored=None), shown=0)
    said = sample_list.summary(plain, "A", "6 samples")
    assert said.startswith("Over 6 samples, the output of A keeps 10.0 dB")
    assert sample_list.summary(plain, "A", "6 samples").endswith("2.0 dB on the worst one.")
    assert sample_list.against(plain, "A", "B") == ""


def test_pages() -> None:
    assert [sample_list.pages(count, 12) for count in (0, 1, 12, 13)] == [1, 1, 1, 2]
    assert sample_list.rows_on(np.arange(20), 1, 12) == tuple(range(12, 20))
    assert sample_list.page_words(12, 8, 20) == "13–20 of 20 samples"
    assert sample_list.page_words(0, 1, 1) == "1 sample"


def look(found: BySample, drawing: Drawing, **more: object) -> Look:
    return Look(found=found, drawing=drawing, words=Words(models=("float", "A", "B")), **more)  # type: ignore[arg-type]


def test_a_card_of_a_classifier() -> None:
    drawing = Drawing(inputs={"x": InputDrawing(kind=InputKind.IMAGE)}, outputs={"y": OutputKind.CLASSES})
    scores = [{"y": np.array([[5.0, 1, 0]])[0]}, {"y": np.array([1.0, 5, 0])}, {"y": np.array([5.0, 1, 0])}]
    shown = card(
        SampleRow(row=0, inputs={"x": np.zeros((3, 8, 8))}, outputs=tuple(scores)), look(compared(), drawing)
    )
    assert shown.title == "Sample 0 · label 0"
    assert [(badge.words, badge.tone) for badge in shown.badges] == [
        ("float: 0 ✓", "good"),
        ("A: 1 ✗", "bad"),
        ("B: 0 ✓", "good"),
    ]
    assert shown.note == "A: SQNR 3.0 dB"
    image, bars = shown.parts
    assert isinstance(image, sample_parts.PicturePart)
    assert isinstance(bars, sample_parts.BarsPart)
    assert image.alt == "Sample 0: x"
    assert [bar.name for bar in bars.rows] == ["0", "1", "2"]
    assert [bar.label for bar in bars.rows] == [True, False, False]
    powers = np.exp([5.0, 1, 0])
    assert bars.rows[0].shares[0] == pytest.approx(powers[0] / powers.sum())


def test_bars_show_what_any_version_says_and_the_label() -> None:
    scores = [np.linspace(1, 0, 30), np.eye(30)[17], np.eye(30)[21]]
    bars = sample_parts.bars(scores, ("float", "A", "B"), 25, ())
    names = [row.name for row in bars.rows]
    assert names[:2] == ["0", "1"]
    assert {"17", "21", "25"} <= set(names)
    assert len(names) == 5


def test_shares_of_scores() -> None:
    shares, softmax = sample_parts.probabilities(np.array([0.2, 0.8]))
    assert (shares.tolist(), softmax) == ([0.2, 0.8], False)
    shares, softmax = sample_parts.probabilities(np.array([1000.0, 1001.0]))
    assert softmax
    assert shares.sum() == pytest.approx(1.0)
    shares, _ = sample_parts.probabilities(np.array([np.nan, 2.0]))
    assert np.isfinite(shares).all()


def dense(kind: OutputKind) -> BySample:
    return replace(compared(None), positions=True, scored="y" if kind is OutputKind.CLASS_MAP else None)


def test_a_card_of_a_class_map_shows_labels_and_where_versions_differ() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((3, 8, 8))
    other = scores.copy()
    other[:, 0, 0] *= -1
    same = int(np.sum(scores.argmax(0) == other.argmax(0)))
    drawing = Drawing(outputs={"y": OutputKind.CLASS_MAP})
    row = SampleRow(
        row=1, inputs={}, outputs=({"y": scores}, {"y": scores}, {"y": other}), labels=scores.argmax(0)
    )
    parts = card(row, look(dense(OutputKind.CLASS_MAP), drawing)).parts
    captions = [part.caption for part in parts]
    assert captions[:3] == ["labels", "float", "A · 100.0 % the same"]
    assert captions[3] == f"B · {100 * same / 64:.1f} % the same"
    assert captions[4:] == ["where B differs"]


def test_tokens_are_marked_where_the_class_differs() -> None:
    ids = np.array([2, 0, 1])
    first = [np.array([5, 6, 7]), np.array([5, 6, 7]), np.array([5, 9, 7])]
    part = sample_parts.token_classes(ids, first, ("float", "A", "B"), ("a", "b", "c"), (), "output")
    assert [token.word for token in part.tokens] == ["c", "a", "b"]
    assert [token.tone for token in part.tokens] == ["", "bad", ""]
    assert part.tokens[1].title == "1: a · float: 6, A: 6, B: 9"


def test_signals_show_the_channel_that_lost_most_of_itself() -> None:
    loud, quiet = np.sin(np.arange(200) / 9) * 100, np.sin(np.arange(200) / 5)
    values = [np.stack([loud, quiet]), np.stack([loud + 1, np.zeros(200)])]
    part = sample_lines.lines(values, ("float", "A"), "output")
    assert part.caption == "output, channel 2 of 2, where they differ most"
    np.testing.assert_allclose(part.lines[0].points, quiet)
    away = sample_lines.apart(values, ("float", "A"), "output")
    assert away is not None
    assert away.caption == "output: difference to float"
    assert sample_lines.apart([loud, loud], ("float", "A"), "output") is None


def test_long_signals_keep_their_peaks() -> None:
    signal = np.zeros(100_000)
    signal[777], signal[88_888] = 5.0, -7.0
    (line,) = sample_lines.lines([signal], ("x",), "x").lines
    assert len(line.points) <= sample_lines.POINTS + 2
    assert max(p for p in line.points if p is not None) == 5.0
    assert min(p for p in line.points if p is not None) == -7.0


def test_bytes_are_read_as_text() -> None:
    part = sample_parts.bytes_text(np.array([*b"<a>\n", 200, *[256] * 50]), "input")
    assert part.text == "<a>\n·"
    assert part.caption == "input, 5 bytes"


def test_boxes_are_drawn_on_the_image_of_each_model() -> None:
    boxes = np.array([[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]])
    seen, missed = np.array([[0.0, 0.9], [0.0, 0.8]]), np.array([[0.0, 0.9], [0.0, 0.1]])
    drawing = Drawing(
        inputs={"x": InputDrawing(kind=InputKind.IMAGE)},
        outputs={"b": OutputKind.BOXES, "s": OutputKind.BOXES},
    )
    head = BoxHead(format=BoxFormat.CORNERS, boxes="b", scores="s")
    found = replace(dense(OutputKind.BOXES), outputs=("b", "s"), positions=False)
    found = replace(found, versions=tuple(_two(v) for v in found.versions))
    row = SampleRow(
        row=0,
        inputs={"x": np.zeros((3, 10, 10))},
        outputs=({"b": boxes, "s": seen}, {"b": boxes, "s": missed}, {"b": boxes, "s": seen}),
    )
    parts = card(row, look(found, drawing, head=head)).parts
    assert [part.caption for part in parts] == [
        "float · 2 boxes, 1 missed by A",
        "A · 1 box",
        "B · 2 boxes",
    ]
    assert isinstance(parts[0], sample_parts.PicturePart)
    assert [box.tone for box in parts[0].boxes] == ["good", "bad"]


def _two(one: VersionBySample) -> VersionBySample:
    errors = one.errors
    return replace(
        one,
        errors=replace(
            errors,
            sqnr_db=np.repeat(errors.sqnr_db, 2, axis=1),
            max_abs=np.repeat(errors.max_abs, 2, axis=1),
            equal=np.repeat(errors.equal, 2, axis=1),
        ),
    )


# --- classes ---


def test_classes_that_lose_come_first() -> None:
    found = class_figures(View(found=compared(), shown=0), ("zero", "one", "two"))
    assert found is not None
    assert found.labelled
    assert [(row.name, row.count, row.float_right, row.version_right) for row in found.rows] == [
        ("zero", 2, 1.0, 0.5),
        ("two", 2, 1.0, 0.5),
        ("one", 2, 0.5, 1.0),
    ]
    assert found.rows[0].taken_for == "one (1)"
    assert [(pair.first, pair.second, pair.change) for pair in found.pairs] == [
        ("zero", "one", 1),
        ("two", "zero", 1),
        ("one", "zero", -1),
    ]
    assert found.matrix is not None
    assert found.matrix.counts == ((1, 1, 0), (0, 2, 0), (1, 0, 1))
    figure = classes_figure(found.rows, "A", labelled=True)
    assert figure.layout.xaxis.title.text == "right, %"
    assert [trace.name for trace in figure.data[-2:]] == ["float", "A"]
    assert list(figure.data[-1].y)[-1] == "zero"  # drawn from below
    right, wrong, cells = matrix_figure(found.matrix, "A", labelled=True).data
    assert (right.z[0], wrong.z[0]) == ([1, None, None], [None, 1, None])
    assert [point[:2] for point in cells.customdata] == [[0, 0], [0, 1], [1, 1], [2, 0], [2, 2]]
    assert [point[2] for point in cells.customdata] == [1, 1, 2, 1, 1]
    assert right.texttemplate == "%{z:,d}"


def test_classes_without_labels_are_those_of_float() -> None:
    found = class_figures(View(found=compared(None), shown=0), ())
    assert found is not None
    assert not found.labelled
    assert {row.name: row.version_right for row in found.rows} == {
        "0": pytest.approx(1 / 3),
        "1": 1.0,
        "2": 0.5,
    }


def test_nothing_is_said_of_classes_that_were_not_counted() -> None:
    found = compared(None)
    found = replace(found, versions=(replace(found.versions[0], pairs=None),))
    assert class_figures(View(found=found, shown=0), ()) is None


# --- names ---


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.txt", b"[PAD]\nthe\n\nof\n"),
        ("tokens.txt", b"[PAD] 0\nthe 1\nof 3\n"),
        ("vocab.json", b'{"[PAD]": 0, "the": 1, "of": 3}'),
        ("names.json", b'["[PAD]", "the", "", "of"]'),
        ("index.json", b'{"0": "[PAD]", "1": "the", "3": "of"}'),
        (
            "tokenizer.json",
            json.dumps(
                {"model": {"vocab": {"the": 1, "of": 3}}, "added_tokens": [{"id": 0, "content": "[PAD]"}]}
            ).encode(),
        ),
        (
            "tokenizer.json",
            json.dumps({"model": {"vocab": [["[PAD]", 0.0], ["the", -1.0], ["", 0.0], ["of", -2]]}}).encode(),
        ),
    ],
)
def test_names_as_models_come_with_them(name: str, content: bytes) -> None:
    assert words_of(content, name) == ("[PAD]", "the", "", "of")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"[1, 2]"),
        ("a.json", b"{"),
        ("a.txt", b"\xff\xfe\x00"),
        ("a.txt", b""),
        ("a.json", b'{"a": 99999999999}'),
        ("tokenizer.json", b'{"model": {}}'),
        ("tokenizer.json", b'{"model": {"vocab": [[]]}}'),
        ("a.txt", b"a " + b"9" * 5000 + b"\nb 1"),
        ("a.txt", b"\n" * 500_000),
    ],
)
def test_what_holds_no_names_is_refused_in_words(name: str, content: bytes) -> None:
    with pytest.raises(DataError, match="one name in each line"):
        words_of(content, name)


def test_numbers_without_a_name_stay_numbers() -> None:
    assert [class_name(n, ("a", "")) for n in (-1, 0, 1, 2000)] == ["none", "a", "1", "2,000"]
    assert [token_word(n, ("Ġthe", "▁of")) for n in (0, 1, 2)] == [" the", " of", "2"]


# --- what differs without classes ---


def test_missed_and_new_boxes_are_counted() -> None:
    boxes = np.array([[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0.0, 0.6, 0.2, 0.9]])
    head = BoxHead(format=BoxFormat.CORNERS, boxes="b", scores="s")

    def outputs(*scores: float) -> dict[str, np.ndarray]:
        return {"b": boxes, "s": np.array([[0.0, score] for score in scores])}

    measure = difference_of(Drawing(), head, (10, 10))
    assert measure is not None
    assert measure(outputs(0.9, 0.9, 0.1), outputs(0.9, 0.9, 0.1)) == 0
    assert measure(outputs(0.9, 0.9, 0.1), outputs(0.9, 0.1, 0.8)) == 2  # one missed, one new


def test_pixels_of_another_class_are_a_share() -> None:
    scores = np.random.default_rng(0).standard_normal((4, 8, 8))
    other = scores.copy()
    other[:, 2, 3] *= -1
    measure = difference_of(Drawing(outputs={"y": OutputKind.CLASS_MAP}), None, None)
    assert measure is not None
    assert measure({"y": scores}, {"y": scores}) == 0
    assert measure({"y": scores}, {"y": other}) == 1 / 64
    assert difference_of(Drawing(outputs={"y": OutputKind.SIGNAL}), None, None) is None


def test_samples_whose_boxes_differ_come_first_and_are_counted() -> None:
    found = replace(compared(None), scored=None)
    differing = np.array([0, 2, 0, 1, 0, 0], np.float32)
    one = found.versions[0]
    found = replace(found, versions=(replace(one, errors=replace(one.errors, differing=differing)),))
    view = View(found=found, shown=0, answers="boxes")
    assert rows(view, Filter.CHANGED) == [1, 3]
    assert rows(view, Filter.ALL, Order.CHANGED)[:2] == [1, 3]
    assert [choice.words for choice in sample_list.choices(view, "A", "")] == ["All · 6", "Boxes differ · 2"]
    said = sample_list.summary(view, "A", "6 evaluation samples")
    assert said == "With A, 3 boxes are missed or new, on 2 of 6 evaluation samples."
    pixels = replace(view, answers="pixels")
    assert sample_list.choices(pixels, "A", "")[1].label == "Pixels differ"


def test_what_is_drawn_as_no_class_has_no_answers() -> None:
    drawing = Drawing(outputs={"y": OutputKind.SIGNAL})
    found = sample_list.as_drawn(compared(), drawing)
    view = View(found=found, shown=1, before=0)
    assert [choice.filter for choice in sample_list.choices(view, "B", "A")] == [Filter.ALL]
    assert sample_list.orders(view) == (Order.SQNR, Order.DATA)
    assert sample_list.summary(view, "B", "6 samples").startswith(
        "Over 6 samples, the output of B keeps 10.0 dB"
    )
    assert sample_list.against(view, "B", "A") == ""
    as_classes = Drawing(outputs={"y": OutputKind.CLASSES})
    assert sample_list.as_drawn(found, as_classes) is found
