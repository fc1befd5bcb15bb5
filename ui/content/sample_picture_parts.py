"""Pictures of a sample's card: class maps, heat maps, differences, and boxes drawn on an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.ui.content import text
from quantscope.ui.content.sample_boxes import Box
from quantscope.ui.content.sample_names import class_name
from quantscope.ui.content.sample_parts import DrawnBox, PicturePart, Swatch, Tone
from quantscope.ui.content.sample_pictures import (
    Picture,
    agreement_picture,
    class_colours,
    class_picture,
    difference_picture,
    heat_picture,
    plane_of,
)

Array = npt.NDArray[Any]
LEGEND = 6  # classes of a map that are named
SMALL = 96  # pixels of a side up to which each is seen as a square


def shown_picture(
    picture: Picture,
    caption: str,
    alt: str,
    *,
    boxes: tuple[DrawnBox, ...] = (),
    legend: tuple[Swatch, ...] = (),
    note: str = "",
) -> PicturePart:
    """A picture with its words."""
    if picture.beyond:
        many = text.plural(picture.beyond, "pixel")
        note = f"{many} far outside the shown range, in orange"
    return PicturePart(
        caption=caption,
        src=picture.src,
        alt=alt,
        width=picture.width,
        height=picture.height,
        square=max(picture.width, picture.height) <= SMALL,
        boxes=boxes,
        legend=legend,
        note=note,
    )


def map_parts(
    classes: Sequence[Array],
    models: Sequence[str],
    names: Sequence[str],
    of: str,
    truth: Array | None = None,
) -> list[PicturePart]:
    """Class maps of all models, each with how much of it is the float model's, and where versions differ.

    Args:
        classes: (height, width) of each model, the float model's first.
        models: Their names.
        names: Of classes.
        of: Name of the output.
        truth: (height, width) labels, negative where there is none.
    """
    first = classes[0]
    known = [] if truth is None or truth.ndim != 2 else [truth]
    legend = _legend([*classes, *known], names)
    parts = [shown_picture(class_picture(one), "labels", f"Labels of {of}") for one in known]
    for at, (one, model) in enumerate(zip(classes, models, strict=True)):
        same = one.shape == first.shape
        share = float(np.mean(one == first)) if same and first.size else 0.0
        words = model if not at else f"{model} · {text.percent(share, 1)} the same" if same else model
        parts.append(
            shown_picture(
                class_picture(one), words, f"Class map of {of} by {model}", legend=legend if not at else ()
            )
        )
    for one, model in zip(classes[1:], models[1:], strict=True):
        if one.shape == first.shape and np.any(one != first):
            picture = agreement_picture(first, one)
            parts.append(shown_picture(picture, f"where {model} differs", f"Pixels where {model} differs"))
    return parts


def _legend(classes: Sequence[Array], names: Sequence[str]) -> tuple[Swatch, ...]:
    counts = np.bincount(np.concatenate([np.maximum(one, 0).ravel() for one in classes]))
    colours = class_colours(len(counts))
    most = [int(at) for at in np.argsort(-counts, kind="stable")[:LEGEND] if counts[at]]
    swatches = [
        Swatch(
            colour="#" + "".join(f"{int(v):02x}" for v in colours[at]),
            words=f"class {class_name(at, names)}" if at >= len(names) else class_name(at, names),
        )
        for at in most
    ]
    return tuple(swatches)


def heat_parts(values: Sequence[Array], models: Sequence[str], of: str) -> list[PicturePart]:
    """One plane of values for each model, all between the float model's ends, and the differences.

    Args:
        values: Of each model, the float model's first.
        models: Their names.
        of: Whose values they are, where a sample has several; "" otherwise.
    """
    planes = [plane_of(one) for one in values]
    known = planes[0][np.isfinite(planes[0])]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    ends = f"dark {text.number(low, 3)} … bright {text.number(high, 3)}"
    name = f"{of} · " if of else ""
    parts = [
        shown_picture(
            heat_picture(plane, low, high), f"{name}{model}", f"Heat map of {model}", note="" if at else ends
        )
        for at, (plane, model) in enumerate(zip(planes, models, strict=True))
    ]
    for plane, model in zip(planes[1:], models[1:], strict=True):
        if plane.shape == planes[0].shape:
            parts.append(difference_part(plane - planes[0], model, of))
    return parts


def difference_part(values: Array, model: str, of: str) -> PicturePart:
    """Where a model's values are lower (blue) and higher (red) than the float model's."""
    known = np.abs(values[np.isfinite(values)])
    largest = float(known.max(initial=0.0))
    words = (
        "no difference"
        if not largest
        else f"blue −{text.number(largest, 3)} … red +{text.number(largest, 3)}"
    )
    picture = difference_picture(values, largest)
    name = f"{of} · " if of else ""
    return shown_picture(picture, f"{name}{model} − float", f"{model} minus float", note=words)


def drawn_boxes(
    boxes: Sequence[Box], agreed: Sequence[bool], names: Sequence[str], *, reference: bool
) -> tuple[DrawnBox, ...]:
    """Boxes for the browser.

    Args:
        boxes: As decoded.
        agreed: For each whether the other model has found it too.
        names: Of classes.
        reference: They are the float model's: those that the version misses are marked.
    """
    alone: Tone = "bad" if reference else "warn"
    lone = not names and len({box.number for box in boxes}) < 2
    return tuple(
        DrawnBox(
            x=box.x0,
            y=box.y0,
            width=max(0.0, box.x1 - box.x0),
            height=max(0.0, box.y1 - box.y0),
            words=_box_words(box, names, lone=lone),
            tone="good" if known else alone,
        )
        for box, known in zip(boxes, agreed, strict=True)
    )


def _box_words(box: Box, names: Sequence[str], *, lone: bool) -> str:
    """Class and score; the score alone where there is one class without a name."""
    score = f"{100 * box.score:.0f} %"
    if lone:
        return score
    named = box.number < len(names)
    return f"{'' if named else 'class '}{class_name(box.number, names)} {score}"
