"""The samples that a command line names, opened and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from quantscope.core.data import Samples, check_samples, open_samples
from quantscope.core.data.sources import (
    Labels,
    Preprocessing,
    all_ignored,
    label_shapes,
    preprocessing,
    random_samples,
    text,
    wrong_labels,
)
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from quantscope.ui.cli.files import read_text
from quantscope.ui.cli.options import Feed
from quantscope.ui.terminal.console import BadInput, note


def open_feed(feed: Feed, model: Model, *, accuracy: bool = False) -> Samples:
    """The samples, checked; what is doubtful about them goes to stderr.

    With `accuracy`, labels that do not fit the model are an error; otherwise those of the data are left
    out with a warning, since ranges need none. Those that --labels names must fit.

    Raises:
        BadInput: the options contradict each other, or name no samples.
        DataError: the samples cannot be read, or do not fit the model.
    """
    if feed.data is None and feed.random is None:
        raise BadInput("name samples with --data PATH, or try it out on random ones with --random 64")
    if feed.data is not None and feed.random is not None:
        raise BadInput("--data and --random contradict each other; give one of them")
    given = (feed.labels, feed.ignore, feed.preprocess)
    if feed.random is not None and any(value is not None for value in given):
        raise BadInput("--labels, --ignore-label and --preprocess go with --data, not with --random")
    if feed.random is not None:
        if feed.random < 1:
            raise BadInput(f"--random takes a number of samples, not {feed.random}")
        samples = random_samples(model, feed.random, seed=feed.seed)
        samples = samples if feed.limit is None else samples.take(feed.limit)
    else:
        how = None if feed.preprocess is None else read_preprocessing(feed.preprocess)
        samples = open_samples(
            feed.data,
            model,
            preprocessing=how,
            labels=feed.labels,
            limit=feed.limit,
            allow_reader=True,
            ignore_label=feed.ignore,
            labels_needed=accuracy,
        )
    warnings = check_samples(samples, model)
    wrong = wrong_labels(samples.labels, model) if accuracy or feed.labels is not None else ""
    if wrong:
        where = "" if feed.labels is None else f"{feed.labels.name}: "
        raise DataError(f"{where}{wrong}: give class indices, or leave the labels out")
    for warning in warnings:
        note(f"warning: {warning}")
    return samples


def unused_labels(labels: Labels, model: Model) -> str:
    """A warning about labels that no output of the model is held against."""
    if all_ignored(labels):
        return "warning: the labels are not used: all of them are the ignore label"
    got = text(labels.shape)
    return f"warning: the labels are not used: they have the shape {got}; {label_shapes(model)}"


def read_preprocessing(text: str) -> Preprocessing:
    """A preprocessing from a YAML file, a preset's name, or `name,key=value,…`."""
    path = Path(text)
    if path.suffix.lower() not in {".yaml", ".yml", ".json"}:
        return preprocessing(text)
    import yaml

    try:
        content = yaml.safe_load(read_text(path, DataError))
    except yaml.YAMLError as error:
        raise DataError(f"{path.name} is not valid YAML: {error}") from None
    if not isinstance(content, Mapping):
        raise DataError(f"{path.name} should hold settings such as 'preset: imagenet-torch' and 'size: 224'")
    return preprocessing({str(key): value for key, value in content.items()})
