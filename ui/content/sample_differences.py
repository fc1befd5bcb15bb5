"""How differently two models answer a sample whose output is no class: boxes and pixels that differ."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.ui.content.sample_boxes import BoxHead, decode, matched
from quantscope.ui.content.sample_cards import class_axis
from quantscope.ui.content.sample_kinds import Drawing, OutputKind
from quantscope.ui.content.sample_parts import first_classes

Array = npt.NDArray[Any]


def difference_of(
    drawing: Drawing, head: BoxHead | None, sides: tuple[int, int] | None
) -> Callable[[Mapping[str, Array], Mapping[str, Array]], float] | None:
    """The measure for a model: boxes that one of both lacks, or the share of pixels of another class.

    Args:
        drawing: What its outputs are.
        head: Outputs that hold boxes.
        sides: Height and width of the image.

    Returns:
        None where its outputs are neither, or are compared as class scores already.
    """
    if head is not None and sides is not None:
        return lambda f, q: float(missed_or_new(head, f, q, sides))
    maps = [name for name, kind in drawing.outputs.items() if kind is OutputKind.CLASS_MAP]
    if maps:
        return lambda f, q: max(_pixels(f[name], q[name]) for name in maps)
    return None


def missed_or_new(
    head: BoxHead, floats: Mapping[str, Array], given: Mapping[str, Array], sides: tuple[int, int]
) -> int:
    """Boxes of the float model that the other one lacks, and the other way round."""
    f, q = decode(head, floats, sides), decode(head, given, sides)
    return matched(q, f).count(False) + matched(f, q).count(False)


def _pixels(f: Array, q: Array) -> float:
    if f.shape != q.shape or not f.size:
        return 1.0
    axis = class_axis(f, 0)
    return float(np.mean(first_classes(f, axis) != first_classes(q, axis)))
