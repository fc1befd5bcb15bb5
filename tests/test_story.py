"""The story of a project: what is said in every situation, and that every word of it is explained."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from quantscope.core.calibration import histogram_of
from quantscope.core.recipe import Recipe
from quantscope.ui.components.story import standalone
from quantscope.ui.content import story_pictures, story_terms
from quantscope.ui.content.sample_kinds import Drawing, guess_inputs
from quantscope.ui.content.sample_pictures import picture
from quantscope.ui.content.story import deck, read
from quantscope.ui.content.story_choices import deeds
from quantscope.ui.content.story_facts import Noun
from quantscope.ui.content.story_images import image_of, line_of, signal_of
from quantscope.ui.content.story_records import Deck, Figures, Gallery, Histogram, Hundreds, Slide
from quantscope.ui.content.story_sentence import headline, of, off, off_words
from quantscope.ui.content.story_shared import everyday
from tests.stories import CASES, cost, encoding, facts, outcomes, shown, spread, trust

JARGON = (
    r"SQNR|dB\b|cosine|tensor|quantizer|zero.point|scale\b|calibrat\w+\b(?! samples)|encoding|QDQ|opset|"
    r"top-1|logit|activation|dequant\w*|per.channel|per.tensor|float\b"
)


def told(case: str) -> Deck:
    return deck(facts(**CASES[case]))


def slide(found: Deck, key: str) -> Slide:
    return next(entry for entry in found.slides if entry.key == key)


@pytest.mark.parametrize("case", CASES)
def test_every_term_is_explained_once_and_where_it_is_used_first(case: str) -> None:
    found = told(case)
    known: list[str] = []
    for entry in found.slides[:-1]:
        new = [term.word for term in entry.terms]
        assert not set(new) & set(known), "explained twice"
        known += new
        assert {term.word for term in story_terms.used(read(entry))} <= set(known)
    assert found.slides[-1].key == "words"
    assert sorted(term.word for term in found.slides[-1].picture.items) == sorted(known)  # type: ignore[union-attr]


@pytest.mark.parametrize("case", CASES)
def test_no_word_is_for_engineers_only(case: str) -> None:
    for entry in told(case).slides:
        for words in read(entry):
            assert not re.search(JARGON, words), words


@pytest.mark.parametrize("case", CASES)
def test_slides_are_data_that_any_page_or_report_can_draw(case: str) -> None:
    found = told(case)
    keys = [entry.key for entry in found.slides]
    assert len(set(keys)) == len(keys)
    assert keys[0] == "opening"
    for entry in found.slides:
        assert entry.title
        assert entry.picture is None or entry.alt or entry.key == "opening"
        assert all(sentence.endswith((".", ":")) or case == "failed" for sentence in entry.sentences)
    text = json.dumps(asdict(found), allow_nan=False)
    assert "nan" not in re.findall(r"\w+", text)


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("repaired", "8 of 9 digits that int8 got wrong are right again; the file is 63 % smaller."),
        ("measuring", ""),
        (
            "untouched",
            "98.6 of 100 digits are answered right, 98.7 before quantization; the file is 63 % smaller.",
        ),
        ("perfect", "98.7 of 100 digits are answered right, as many as before; the file is 63 % smaller."),
        (
            "worse",
            "Int8 gets 408 digits wrong that the original gets right (9 at first); the file is 63 % smaller.",
        ),
        ("no classes", "The outputs are 4.0 % off those of the original network; the file is 63 % smaller."),
        ("broken", "The quantized network's outputs cannot be compared; the file is 63 % smaller."),
        (
            "made up",
            "Tried on made-up inputs only: what they say of quality means nothing; the file is 63 % smaller.",
        ),
        ("all float", "Nothing is quantized: the file computes what the original network computes."),
        ("larger", "8 of 9 digits that int8 got wrong are right again; the file is 26 % larger."),
        ("wide", "8 of 9 digits that int16 got wrong are right again; the file is 63 % smaller."),
    ],
)
def test_the_story_is_told_in_one_sentence(case: str, sentence: str) -> None:
    assert headline(facts(**CASES[case])) == sentence
    assert told(case).headline == headline(facts(**CASES[case]))


@pytest.mark.parametrize(
    ("lost", "again", "newly", "sentence"),
    [
        (9, 9, 0, "All 9 digits that int8 got wrong are right again"),
        (1, 1, 0, "The one digit that int8 got wrong is right again"),
        (2, 2, 0, "Both digits that int8 got wrong are right again"),
        (9, 1, 0, "1 of 9 digits that int8 got wrong is right again"),
        (9, 8, 2, "8 of 9 digits that int8 got wrong are right again, 2 others went wrong"),
        (9, 8, 1, "8 of 9 digits that int8 got wrong are right again, 1 other went wrong"),
        (9, 0, 0, "Int8 gets 9 digits wrong that the original gets right, as many as at first"),
        (9, 4, 4, "Int8 gets 9 digits wrong that the original gets right, as many as at first"),
        (0, 0, 3, "Int8 gets 3 digits wrong that the original gets right (0 at first)"),
        (0, 0, 0, "98.6 of 100 digits are answered right, 98.7 before quantization"),
    ],
)
def test_repairs_are_counted_in_words(lost: int, again: int, newly: int, sentence: str) -> None:
    found = headline(facts(outcomes=outcomes(lost, again, newly)))
    assert found == f"{sentence}; the file is 63 % smaller."


def test_without_labels_answers_are_equal_and_not_right() -> None:
    found = told("no labels")
    assert found.headline.startswith(
        "8 of 9 digits that int8 answered otherwise have their first answer again"
    )
    assert slide(found, "cost").title == "97 of 100 answers are the same as before"
    assert "right" not in slide(found, "examples").sentences[0]


def test_nothing_is_claimed_before_it_is_measured() -> None:
    found = told("measuring")
    waiting = {entry.key for entry in found.slides if entry.waiting}
    assert {"opening", "saved", "cost", "done"} <= waiting
    figures = slide(found, "opening").picture
    assert isinstance(figures, Figures)
    assert {item.value for item in figures.items} == {"…"}
    assert "there is no memory left" in slide(told("failed"), "cost").sentences[0]


def test_figures_of_made_up_inputs_are_loudly_called_so_on_every_slide() -> None:
    found = told("made up")
    assert "mean nothing" in found.banner
    assert slide(found, "opening").picture.items[0].value == "unknown"  # type: ignore[union-attr]
    assert told("repaired").banner == ""


def test_figures_of_calibration_samples_are_marked() -> None:
    assert slide(told("few"), "cost").caution
    assert "calibration samples: on new ones it may do worse" in slide(told("few"), "cost").basis
    assert not slide(told("repaired"), "cost").caution


def test_few_samples_are_counted_and_not_put_in_hundreds() -> None:
    assert slide(told("few"), "cost").title == "14 of 16 answers are right, 16 in the original"
    assert of(0.9996, 10_000) == "99.9 of 100"  # not all of them
    assert of(1.0, 10_000) == "100 of 100"
    assert of(0.0001, 10_000) == "0.1 of 100"


def test_a_hundred_dots_show_at_least_one_that_is_wrong() -> None:
    picture = slide(deck(facts(cost=cost(0.999, 0.999, before=1.0))), "cost").picture
    assert isinstance(picture, Hundreds)
    assert [item.right for item in picture.items] == [100, 90, 99]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("larger", "1.3 times as long as before: its processor lacks fast instructions for int8"),
        ("repaired", "takes 0.500 ms instead of 1.00 ms"),
    ],
)
def test_words_on_speed_are_honest(case: str, words: str) -> None:
    assert words in " ".join(slide(told(case), "saved").sentences)


@pytest.mark.parametrize(
    ("more", "point"),
    [
        ({"evaluation": False}, "Judge on samples kept apart"),
        ({"samples": 60}, "Try more samples"),
        ({"synthetic": True}, "Give real samples"),
        ({"guessing": True}, "Check the data"),
        ({"default_differs": True}, "Make the file safe on any computer"),
        ({"worst": "stem"}, "Look at the weakest layer"),
        ({"float_layers": 2}, "Not everything is quantized"),
        ({"lost_outputs": 1}, "Part of the output is lost"),
        ({"verified": False}, "Verify the file"),
        ({}, "Measure on the device"),
    ],
)
def test_what_remains_to_be_checked_is_said(more: dict[str, object], point: str) -> None:
    found = slide(deck(facts(trust=trust(**more))), "open").picture
    assert point in [item.name for item in found.items if not item.done]  # type: ignore[union-attr]


def test_nothing_to_repair_is_said_and_no_sample_shown() -> None:
    found = told("perfect")
    assert slide(found, "done").title == "Nothing had to be done"
    assert slide(found, "examples").title == "No right answer was lost"
    assert [item.value for item in slide(found, "examples").picture.items] == ["1,000", "0"]  # type: ignore[union-attr]


def test_samples_are_shown_as_what_they_are() -> None:
    line = shown(2, image="", line=line_of(np.sin(np.arange(600, dtype=np.float32))[None]))
    text = shown(3, image="")
    picture = slide(deck(facts(outcomes=outcomes(shown=(shown(1), line, text)))), "examples").picture
    assert isinstance(picture, Gallery)
    first, second, third = picture.items
    assert first.image.startswith("data:image/png;base64,")
    assert not first.line
    assert not second.image
    assert len(second.line) <= 240
    assert third.words == "Sample 3"
    assert [(said.who, said.answer, said.tone) for said in first.said] == [
        ("right answer", "3", ""),
        ("int8 at first", "8", "bad"),
        ("int8 now", "3", "good"),
    ]


def test_a_pinned_version_is_called_by_its_name() -> None:
    said = json.dumps(asdict(told("pinned")), ensure_ascii=False)
    assert "in “v1”" in said
    assert "at first" not in said
    assert "that “v1” got wrong are right again" in said
    assert "“v1” got 9 wrong; 8 of them are right again" in said


# --- pictures ---


def test_shares_quantiles_and_values_outside_agree_with_numpy() -> None:
    values = np.random.default_rng(3).normal(size=50_000).astype(np.float32)
    values[:20_000] = 0
    counts = histogram_of(values)
    places = np.linspace(-3, 3, 61)
    twin = np.array([np.mean(values < place) for place in places])
    np.testing.assert_allclose(story_pictures.shares_below(counts, places), twin, atol=2e-3)
    for share in (0.001, 0.2, 0.5, 0.9, 0.999):
        twin_quantile = np.quantile(values, share)
        assert story_pictures.quantile(counts, share) == pytest.approx(twin_quantile, abs=5e-3)
    assert story_pictures.outside(counts, -2, 2) == pytest.approx(np.sum(np.abs(values) > 2), rel=0.01)
    assert story_pictures.outside(counts, counts.min, counts.max) == 0
    assert story_pictures.outside(counts, counts.min, np.nextafter(counts.max, 0)) >= 1


def test_many_equal_values_are_among_most() -> None:
    values = np.linspace(0, 1, 10_001).astype(np.float32)
    values[:5_000] = 0
    assert story_pictures.quantile(histogram_of(values), 0.025) == 0.0


def test_the_picture_of_values_marks_what_stands_alone_at_the_end() -> None:
    found = slide(told("repaired"), "values").picture
    assert isinstance(found, Histogram)
    assert found.callout is not None
    assert found.callout.label == "3 of 10,000 values lie beyond 1"
    assert found.heights[-1] > 0  # three values are seen
    normal = histogram_of(np.random.default_rng(0).normal(size=100_000).astype(np.float32))
    plain = story_pictures.histogram(normal, label="value")
    assert story_pictures.with_outliers(plain, normal) == plain


def test_a_small_range_is_shown_enlarged_with_the_steps_before() -> None:
    found = slide(told("repaired"), "cut").picture
    assert isinstance(found, Histogram)
    before, now = found.brackets
    assert before.onward
    assert not now.onward
    assert before.steps == pytest.approx(64 * now.steps, rel=1e-3)
    assert re.search(r"most values shared [45] steps", slide(told("repaired"), "cut").sentences[0])


def test_a_staircase_shows_neighbouring_steps_and_a_value_within_half_a_step() -> None:
    found = story_pictures.staircase(spread(1.0), encoding(0, 1), levels=256)
    widths = np.diff(found.levels)
    np.testing.assert_allclose(widths, widths[0], atol=1e-4)
    given, stored = found.example
    assert stored in found.levels
    assert abs(given - stored) < widths[0] / 2


@pytest.mark.parametrize("outlier", [0.0, 1.0, 64.0])
def test_pictures_of_odd_tensors_can_be_drawn(outlier: float) -> None:
    for values in (np.zeros(10), np.full(10, 3.0), np.array([outlier, 0.5, 1e-20]), np.array([-1e30, 1e30])):
        counts = histogram_of(values.astype(np.float32))
        for kept in (encoding(0, 1), encoding(-5, 5)):
            picture = story_pictures.staircase(counts, kept, levels=256)
            assert all(0 <= height <= 1 for height in picture.heights)
        whole = story_pictures.histogram(counts, label="x")
        assert all(0 <= height <= 1 for height in whole.heights)
        assert all(0 <= tick.at <= 1 for tick in whole.ticks)


def test_what_goes_in_is_drawn_as_on_compare() -> None:
    ramp = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
    stuck = ramp.copy()
    stuck[0, 0, 0] = 640.0  # one broken pixel must not darken the rest
    for values in (stuck, np.moveaxis(stuck, 0, -1)):
        drawing = Drawing(inputs=guess_inputs([{"x": values}, {"x": values + 0.01}]))
        found = image_of({"x": values}, drawing)
        assert found == picture(values, drawing.inputs["x"]).src
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.partition(",")[2]))))
        assert pixels.shape == (32, 32, 3)
        assert pixels[-1, -1].tolist() == [255] * 3
        assert 100 < pixels[16, 0, 0] < 155
        assert not signal_of({"x": values}, drawing)
    wave = np.sin(np.arange(640, dtype=np.float32))[None]
    drawing = Drawing(inputs=guess_inputs([{"x": wave}]))
    assert image_of({"x": wave}, drawing) == ""
    assert len(signal_of({"x": wave}, drawing)) == 214


def test_a_large_photo_is_made_smaller_for_a_slide() -> None:
    photo = np.random.default_rng(0).random((3, 400, 500)).astype(np.float32)
    found = image_of({"x": photo}, Drawing(inputs=guess_inputs([{"x": photo}])))
    assert max(Image.open(io.BytesIO(base64.b64decode(found.partition(",")[2]))).size) <= 320


def test_a_signal_is_a_line() -> None:
    assert line_of(np.zeros((1, 640), np.float32)) == (0.5,) * 214
    assert line_of(np.zeros((4, 640), np.float32)) == ()


# --- what was done ---


def test_what_was_done_is_said_in_plain_words() -> None:
    before = Recipe()
    after = before.with_default(method="percentile", percentile=99.9).with_passes("equalize")
    after = after.with_layer("a", precision="int16").with_layer("b", precision="int16")
    after = after.with_layer("c", range=(0.0, 1.0))
    names = [name for name, _ in deeds(before, after)]
    assert names == [
        "Neighbouring layers were balanced",
        "Rare values are cut off (Percentile 99.9 %)",
        "2 layers have more room",
        "1 layer has a range set by hand",
    ]
    assert deeds(before, before) == ()
    assert next(name for name, _ in deeds(after, before)) == "Cross-layer equalization was taken back"


def test_a_share_off_is_said_with_its_size() -> None:
    assert off(20.0) == pytest.approx(0.1)
    assert off(float("inf")) == 0
    assert off(None) is None
    assert [off_words(share) for share in (0.0, 1e-6, 0.018, 0.3, 50.0)] == [
        "0 %",
        "less than 0.01 %",
        "1.8 %",
        "30 %",
        "more than 1,000 %",
    ]


# --- the file to send ---


def test_the_file_needs_no_network_and_reads_names_as_text() -> None:
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    page = standalone(deck(facts(name=hostile)))
    assert hostile not in page
    assert page.count("</script>") == 1
    assert not re.search(r"(?:src|href)=[\"']?http|url\(http|@import|fetch\(|XMLHttpRequest|WebSocket", page)
    assert "default-src 'none'" in page


def test_an_original_of_16_bits_is_not_said_to_have_32() -> None:
    found = deck(facts(float_bits=16))
    idea, saved = slide(found, "idea"), slide(found, "saved")
    assert "each takes 16 bits of memory" in idea.sentences[0]
    assert "half the room" in idea.sentences[1]
    assert idea.picture is not None
    assert idea.picture.before_bits == 16  # type: ignore[union-attr]
    assert "shrink to about half" in saved.sentences[0]
    assert "32 bits" not in "\n".join(text for entry in found.slides for text in read(entry))


@pytest.mark.parametrize(
    ("value", "words"),
    [(7.6e-4, "0.00076"), (-2.654e-5, "−0.0000265"), (1e-4, "0.0001"), (123_456.0, "123,000"), (0.5, "0.5")],
)
def test_numbers_for_everybody_have_no_powers_of_ten(value: float, words: str) -> None:
    assert everyday(value, 3) == words


def test_a_wide_range_is_said_to_leave_few_steps_to_most_values() -> None:
    given = facts()
    assert given.values is not None
    alone = replace(given.values, now=encoding(0, 64), before=None)
    told_of = slide(deck(replace(given, values=alone)), "cut").sentences
    assert "A few outliers make it so wide: most values share 4 of the 256 steps" in told_of[1]
    assert "but cut off some" in told_of[1]


def test_pixels_are_counted_without_a_margin_for_they_are_not_independent() -> None:
    found = facts(
        noun=Noun(one="image", many="images"),
        row_noun=Noun(one="pixel", many="pixels"),
        cost=cost(right=None, agreement=0.998, rows=40_960),
        trust=trust(samples=40, labelled=False),
        outcomes=None,
    )
    cost_slide = slide(deck(found), "cost")
    assert cost_slide.title == "99.8 of 100 pixels get the same answer as before"
    assert cost_slide.sentences[-1] == "Counted over 40,960 pixels of 40 images."


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"cost": cost(right=0.90)}, "Right answers: 90 of 100, 98.7 of 100 in the original"),
        ({"cost": cost(right=None, agreement=0.0, rows=60)}, "The same answers as before: 0 of 60"),
        ({"cost": cost(right=None, agreement=None, sqnr_db=6.0)}, "Outputs are 50 % off"),
        ({"cost": cost(right=None, agreement=None, sqnr_db=None)}, "The outputs cannot be compared"),
        ({}, ""),
    ],
)
def test_a_great_loss_is_left_to_be_decided(more: dict[str, object], words: str) -> None:
    picture = slide(deck(facts(**more)), "open").picture
    said = [item.words for item in picture.items if item.name == "Decide whether so much may be lost"]  # type: ignore[union-attr]
    assert len(said) == bool(words)
    assert not words or said[0].startswith(words)


def test_a_network_that_seems_better_than_the_original_is_said_to_be_lucky() -> None:
    assert "most likely chance" in slide(deck(facts(cost=cost(right=0.99))), "cost").sentences[0]
    assert "chance" not in slide(deck(facts()), "cost").sentences[0]
