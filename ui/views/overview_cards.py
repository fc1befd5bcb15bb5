"""The figures on top of the Overview, float against quantized: each says over what, and against what."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from quantscope.core.evaluate import Accuracy, Comparison, Latency, OutputError
from quantscope.core.runtime import integer_sums
from quantscope.ui.components import Card
from quantscope.ui.content import size_parts, text
from quantscope.ui.content.basis import Basis
from quantscope.ui.content.distance import SAME_TIME, Reference
from quantscope.ui.content.outcome import SAME_SPEED
from quantscope.ui.content.rows import Row

SQNR_TIP = "Signal to quantization noise of all float outputs: 10 log₁₀(Σf² / Σ(f−q)²), in dB."
COSINE_TIP = "cosine = f·q / (‖f‖‖q‖) of all float outputs taken as one vector; 1 is identical."
NO_VNNI = "expected: CPU without VNNI"
LITTLE = 0.25  # percentage points: neither good nor bad
MOST_OUTPUTS = 12  # that get a figure each


def waiting_cards(*, labelled: bool, running: bool) -> list[Card]:
    """Cards without figures; they have the places and heights of those that come."""
    note = "measuring…" if running else "not measured"
    names = ("Top-1" if labelled else "Agreement", "Output SQNR", "Size", "Latency")
    return [Card(name=name, value="–", note=note, waiting=running) for name in names]


def measured_cards(found: Comparison, basis: Basis, against: Sequence[Reference] = ()) -> list[Card]:
    """Accuracy, error, size and time of the exported model.

    Args:
        found: What was measured.
        basis: The samples that it was measured on.
        against: The step before and the pinned version, where there are figures of them.
    """
    shown = accuracy_cards(found.accuracy, basis, against) if found.accuracy is not None else []
    return [
        *shown,
        _sqnr(found, basis, against),
        _size(found, against),
        _latency(found.latency, against),
    ]


def layers_card(rows: Sequence[Row], in_float: Collection[str] = ()) -> Card:
    """How many layers are quantized, and how many stand out.

    Args:
        rows: All layers.
        in_float: Those that compute in float, though what they give out may be quantized.
    """
    computed = [row for row in rows if row.kind == "compute"]
    integer = sum(row.precision == "int8" and row.name not in in_float for row in computed)
    flagged = sum(bool(row.flag) for row in rows)
    return Card(
        name="Layers in int8",
        value=f"{integer:,} of {len(computed):,}",
        change=f"{flagged:,} flagged" if flagged else "",
        tone="bad",
        note="" if flagged else "none flagged",
        tip="Layers that compute on 8-bit integers; Export lists those in float. A flag marks a layer that "
        "stands out by what it costs the model's output, or values that no range can hold.",
    )


def accuracy_cards(found: Accuracy, basis: Basis, against: Sequence[Reference] = ()) -> list[Card]:
    """Top-1, or agreement without labels; and the mean IoU of label maps."""
    what = "positions" if found.positions else "samples"
    if found.float_top1 is None or found.quantized_top1 is None:
        tip = (
            f"Share of {found.rows:,} {what} for which both models put the same class first. "
            "Give labels to see top-1."
        )
        note = "of positions as in float" if found.positions else "same class as float"
        value = text.share(found.agreement)
        moved = _moved(against, lambda ref: ref.points(found.agreement, ref.figures.agreement))
        return [_over(Card(name="Agreement", value=value, note=note, moved=moved, tip=tip), basis)]
    where = ", over positions" if found.positions else ""
    tip = f"Share of {found.rows:,} labelled {what} whose highest score is the right class."
    moved = _moved(against, lambda ref: ref.points(found.quantized_top1, ref.figures.top1))
    cards = [_share("Top-1", found.float_top1, found.quantized_top1, where, tip, basis, moved, found.rows)]
    if found.float_miou is not None and found.quantized_miou is not None:
        tip = "Mean over classes of intersection over union, |A ∩ B| / |A ∪ B|, of labels and predictions."
        moved = _moved(against, lambda ref: ref.points(found.quantized_miou, ref.figures.miou))
        cards.append(_share("Mean IoU", found.float_miou, found.quantized_miou, "", tip, basis, moved))
    return cards


def _moved(against: Sequence[Reference], say: Callable[[Reference], str]) -> tuple[str, ...]:
    """A quiet line for each reference that has the figure."""
    return tuple(words for ref in against if (words := say(ref)))


def _share(
    name: str,
    before: float,
    after: float,
    where: str,
    tip: str,
    basis: Basis,
    moved: tuple[str, ...],
    rows: int = 0,
) -> Card:
    """A share of both models; a change by a single row of `rows` is neither good nor bad."""
    change = 100 * (after - before)
    little = abs(change) < LITTLE or (rows > 0 and abs(after - before) * rows < 1.5)
    card = Card(
        name=name,
        value=text.share(after),
        change=text.change(change, "pp"),
        tone="" if little else "good" if change > 0 else "bad",
        note=f"float {text.share(before)}{where}",
        moved=moved,
        tip=tip,
    )
    return _over(card, basis)


def _over(card: Card, basis: Basis) -> Card:
    """The card with the samples that its figure is over; amber where it cannot be trusted."""
    tip = f"{card.tip} {basis.why}".rstrip()
    return replace(card, over=basis.words, doubt=not basis.unseen, tip=tip)


def _sqnr(found: Comparison, basis: Basis, against: Sequence[Reference]) -> Card:
    equal = [output.equal_share for output in found.outputs if output.equal_share is not None]
    if equal and not any(output.error is not None for output in found.outputs):  # class maps, say: no floats
        tip = (
            "Share of the elements of the outputs, which hold no floats, that are equal to the float model's."
        )
        value = text.share(sum(equal) / len(equal))
        return _over(Card(name="Equal outputs", value=value, note="of values as in float", tip=tip), basis)
    tip = f"{SQNR_TIP} Higher is better. {COSINE_TIP}"
    several = [output for output in found.outputs if output.error is not None]
    note = f"cosine {text.cosine(found.output.cosine)}"
    if len(several) > 1:
        note += f"; {len(several)} outputs as one"
        tip += " Outputs of large values hide others: below is a figure for each."
    moved = _moved(against, lambda ref: ref.decibels(found.output.sqnr_db, ref.figures.sqnr_db))
    value = text.decibel(found.output.sqnr_db)
    return _over(Card(name="Output SQNR", value=value, note=note, moved=moved, tip=tip), basis)


def _size(found: Comparison, against: Sequence[Reference]) -> Card:
    change = 100 * (found.quantized_bytes / found.float_bytes - 1)
    return Card(
        name="Size",
        value=text.size(found.quantized_bytes),
        change=f"{change:+.0f} %".replace("-", "−"),
        tone="good" if change < 0 else "bad",
        note=f"float {text.size(found.float_bytes)}",
        over=f"{text.size(found.parts.weights)} of it weights",
        moved=_moved(against, lambda ref: ref.percent(found.quantized_bytes, ref.figures.size_bytes)),
        tip="The .onnx file as it is exported against the one that was opened, external data included. "
        f"What its bytes are: {size_parts.listed(found.parts)}.",
    )


def _latency(found: Latency | None, against: Sequence[Reference]) -> Card:
    if found is None:
        return Card(name="Latency", value="–", note="not measured")
    ratio = found.float_ms / found.quantized_ms
    same = abs(ratio - 1.0) < SAME_SPEED
    expected = ratio < 1.0 and not same and integer_sums().saturates
    change = "same speed" if same else f"{ratio:.1f}× faster" if ratio > 1 else f"{1 / ratio:.1f}× slower"
    return Card(
        name="Latency",
        value=text.milliseconds(found.quantized_ms),
        change=change,
        tone="" if same or expected else "good" if ratio > 1 else "bad",
        note=f"float {text.milliseconds(found.float_ms)}",
        over=NO_VNNI if expected else "one sample on this CPU",
        moved=_moved(
            against,
            lambda ref: ref.percent(found.quantized_ms, ref.figures.latency_ms, SAME_TIME),
        ),
        tip=f"Median of {found.runs} runs of one sample on this machine's CPU, "
        f"{text.plural(found.threads, 'thread')}, ONNX Runtime; against the float model, both in turn."
        f"{_why_slow(found)}",
    )


def _why_slow(found: Latency) -> str:
    """What is to be expected of integer kernels here."""
    if not integer_sums().saturates:
        slower = found.quantized_ms > found.float_ms * (1.0 + SAME_SPEED)
        return " Between small layers, rounding takes longer than integers save." if slower else ""
    slow = (
        " This CPU lacks VNNI, which integer kernels need to be much faster than float: int8 is expected to "
        "be slower here, or hardly faster."
    )
    return slow if found.default_ms is None else f"{slow} Exact sums take longer than a default session here."


def output_cards(outputs: Sequence[OutputError]) -> list[Card]:
    """A figure for each output where there are several, and for parts of one whose values differ in size.

    The worst ones, where there are very many.
    """
    parts = sum(len(o.channels.parts) for o in outputs if o.channels is not None)
    if len(outputs) < 2 and parts < 2:
        return []
    shown = [entry for output in outputs for entry in _of_output(output)]
    if len(shown) > MOST_OUTPUTS:
        shown = sorted(shown, key=lambda entry: entry[0])[:MOST_OUTPUTS]
    return [card for _, card in shown]


def _of_output(found: OutputError) -> list[tuple[float, Card]]:
    """Cards of an output with what they are sorted by: SQNR in dB, or what stands for it."""
    name = text.short(found.name, 36)
    if found.error is None:
        if found.equal_share is None:
            return [(-math.inf, Card(name=name, value="–", note="its shape differs from float's"))]
        tip = "Share of the elements that are equal to the float model's."
        card = Card(name=name, value=text.share(found.equal_share), note="of values equal", tip=tip)
        return [(100.0 * found.equal_share, card)]
    known = -math.inf if found.error.sqnr_db is None else found.error.sqnr_db
    parts = found.channels.parts if found.channels is not None else ()
    if len(parts) < 2:
        lost = len(found.channels.lost) if found.channels is not None else 0
        note = f"cosine {text.cosine(found.error.cosine)}"
        return [
            (known, _output_card(name, found.error.sqnr_db, lost, note, f"SQNR of the output {found.name}."))
        ]
    tip = f"SQNR of channels of the output {found.name} whose values are about as large."
    return [
        (
            part.sqnr_db,
            _output_card(name, part.sqnr_db, len(part.lost), text.plural(len(part.channels), "channel"), tip),
        )
        for part in parts
    ]


def _output_card(name: str, sqnr_db: float | None, lost: int, note: str, tip: str) -> Card:
    return Card(
        name=name,
        value=text.decibel(sqnr_db),
        change=f"{lost} constant" if lost else "",
        tone="bad" if lost else "",
        note=note,
        tip=tip,
    )
