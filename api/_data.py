"""Data: samples to calibrate and to compare with, from files and from memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantscope._inspect import ModelLike, as_model
from quantscope._warnings import warn
from quantscope.core.data import Samples, check_samples, open_samples
from quantscope.core.data.sources import preprocessing as read_preprocessing
from quantscope.core.data.sources import random_samples, wrong_labels
from quantscope.core.errors import DataError
from quantscope.core.model import Model


def open_data(
    source: Any,
    model: ModelLike,
    *,
    labels: Any = None,
    ignore_label: int | None = None,
    preprocessing: str | Mapping[str, Any] | None = None,
    limit: int | None = None,
) -> Samples:
    """Open samples for a model, and check that they fit it.

    Args:
        source: One of

            - a path: .npz, .npy, a folder of these, images (a file, a folder, a .zip), or a .py file with a
              function `samples()`, which is run;
            - a dict of arrays by input name, each with an axis of samples in front, (n, ...); labels may be
              in it as "labels";
            - one such array, for a model with one input;
            - an iterable, such as a torch `DataLoader`, a list or a generator. Its items are dicts by input
              name, or arrays for a model with one input, alone or as (sample, label), with or without a batch
              axis. It is run through once and copied into memory, 1,024 samples unless `limit` says more.

            Arrays may be NumPy's, tensors of other libraries (also with gradients, or on a GPU), or lists.
            They are not copied, so do not change them while they are in use.
        model: What the samples are for; its input names, shapes and types decide.
        labels: Class of each sample (n,), or of each token or pixel (n, ...): an array, or the path of a
            .npy, .npz or, for images, .csv file. They stand for those in the data, if there are any.
        ignore_label: A label that is no class and does not count; -100, and 255 in maps of pixels, are none
            either way.
        preprocessing: For images in files or as one uint8 array: "imagenet-torch", "imagenet-tf", "0-1" or
            "0-255", with settings as in "0-1,size=128,order=BGR", or a dict such as
            {"preset": "0-1", "size": 128}. Guessed, with a warning, where left out.
        limit: Use the first `limit` samples only.

    Returns:
        Samples, which know their `len`, give dicts of arrays when iterated over, and have `labels`, `take(n)`
        and `select(positions)`.

    Raises:
        DataError: The data cannot be read, or do not fit the model; the message says which shape would.

    Warns:
        QuantScopeWarning: Something is doubtful: duplicates, labels that cannot be used, guesses.

    Examples:
        >>> data = qs.open_data("calib.npz", model)
        >>> len(data), data[0]["pixels"].shape
        (192, (1, 784))
        >>> qs.open_data({"pixels": np.eye(784, dtype=np.float32)}, model, limit=10).rows
        10
    """
    return opened(
        source,
        as_model(model),
        labels=labels,
        ignore_label=ignore_label,
        preprocessing=preprocessing,
        limit=limit,
        labels_needed=False,
    )


def opened(
    source: Any,
    model: Model,
    *,
    labels: Any = None,
    ignore_label: int | None = None,
    preprocessing: str | Mapping[str, Any] | None = None,
    limit: int | None = None,
    labels_needed: bool,
) -> Samples:
    """As `open_data`; with `labels_needed`, labels of the data that do not fit are an error."""
    if source is None:
        raise DataError("there are no samples: give a path or arrays, or try it out with random_data(model)")
    samples = open_samples(
        source,
        model,
        preprocessing=None if preprocessing is None else read_preprocessing(preprocessing),
        labels=labels,
        limit=limit,
        allow_reader=True,
        ignore_label=ignore_label,
        labels_needed=labels_needed,
    )
    warnings = check_samples(samples, model)
    wrong = wrong_labels(samples.labels, model) if labels_needed or labels is not None else ""
    if wrong:
        where = f"{Path(labels).name}: " if isinstance(labels, str | Path) else ""
        raise DataError(f"{where}{wrong}: give class indices, or leave the labels out")
    warn(warnings)
    return samples


def random_data(model: ModelLike, count: int = 64, *, seed: int = 0) -> Samples:
    """Make up samples by shape and type, to try things out; ranges found on them are guesses.

    Args:
        model: What they are for.
        count: How many.
        seed: The same seed gives the same samples.

    Raises:
        DataError: `count` is below 1, or an input is of a kind that cannot be made up.

    Warns:
        QuantScopeWarning: What was assumed about the inputs.

    Examples:
        >>> len(qs.random_data("model.onnx", 8))
        8
    """
    if count < 1:
        raise DataError(f"at least one sample is needed, not {count}")
    opened_model = as_model(model)
    samples = random_samples(opened_model, count, seed=seed)
    warn(check_samples(samples, opened_model))
    return samples


def as_samples(data: Any, model: Model, *, labels_needed: bool = False, labels: Any = None) -> Samples:
    """Samples that are open, or what `open_data` makes of anything else.

    Raises:
        DataError: They cannot be read or do not fit, or labels come too late.
    """
    if not isinstance(data, Samples):
        return opened(data, model, labels=labels, labels_needed=labels_needed)
    if labels is not None:
        raise DataError("the data are open already: give the labels to open_data(…, labels=…)")
    names = tuple(info.name for info in model.inputs)
    if data.names != names:
        raise DataError(
            f"the data were opened for a model with the inputs {', '.join(data.names)}, and this one takes "
            f"{', '.join(names)}: open them for this model"
        )
    return data
