"""Where samples come from: arrays, images, a reader of the user's own, or made up."""

from quantscope.core.data.sources.arrays import BROKEN
from quantscope.core.data.sources.images import PRESETS, Preprocessing, preprocessing
from quantscope.core.data.sources.inputs import text
from quantscope.core.data.sources.labels import (
    IGNORED,
    Labels,
    all_ignored,
    class_axis,
    label_shapes,
    may_be_labelled,
    out_of_range,
    scoring,
    wrong_labels,
)
from quantscope.core.data.sources.synthetic import DEFAULT_COUNT, random_samples

__all__ = [
    "BROKEN",
    "DEFAULT_COUNT",
    "IGNORED",
    "PRESETS",
    "Labels",
    "Preprocessing",
    "all_ignored",
    "class_axis",
    "label_shapes",
    "may_be_labelled",
    "out_of_range",
    "preprocessing",
    "random_samples",
    "scoring",
    "text",
    "wrong_labels",
]
