"""How labels come to samples: from the source itself, or from a file or an array that is given for them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data.samples import Samples
from quantscope.core.data.sources.arrayfiles import readable
from quantscope.core.data.sources.arrays import open_npy, open_npz
from quantscope.core.data.sources.imagefiles import ImageFeed, csv_labels
from quantscope.core.data.sources.labels import LABELS, Labels, RawLabels, fit_labels, wrong_labels
from quantscope.core.errors import DataError
from quantscope.core.model import Model
from quantscope.core.words import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """Gives labels to samples of one source."""

    model: Model
    name: str  # of the source
    ignore: int | None
    needed: bool

    def given(self, samples: Samples, labels: "str | Path | Labels") -> Samples:
        """With labels from elsewhere.

        Raises:
            DataError: They do not fit.
        """
        names: tuple[str, ...] = ()
        if isinstance(labels, str | Path):
            values, names = _label_file(Path(labels), samples)
            return self._fitted(samples, values, f"{Path(labels).name}: {LABELS}", names)
        return self._fitted(samples, np.asarray(labels), LABELS, names)

    def found(self, samples: Samples, raw: RawLabels) -> Samples:
        """With those of the source.

        Raises:
            DataError: They are needed, called labels, and do not fit.
        """
        try:
            if raw.fault:
                raise DataError(raw.fault)
            if raw.values is None:
                return samples
            fitted = self._fitted(samples, raw.values, f"{self.name}: {LABELS}", samples.label_names)
            wrong = wrong_labels(fitted.labels, self.model)
            if wrong and not self.needed:
                raise DataError(wrong)
            return fitted
        except DataError as error:
            if self.needed and not raw.incidental:
                raise
            return replace(samples, label_names=(), warnings=(*samples.warnings, f"labels not used: {error}"))

    def _fitted(
        self, samples: Samples, values: npt.NDArray[Any], label: str, names: tuple[str, ...]
    ) -> Samples:
        rows, where = samples.feed.rows, label.removesuffix(LABELS)
        if samples.kind == "reader" and values.ndim and len(values) > rows:
            values = values[:rows]
        if values.ndim and len(values) != rows:
            raise DataError(
                f"{where}{plural(len(values), 'label')} for {plural(rows, 'sample')}: give one for "
                "each, or one for each position of each"
            )
        fitted, said = fit_labels(values, self.model, label, self.ignore)
        wrong = wrong_labels(fitted, self.model)
        said += [where + wrong] if wrong else []
        return replace(samples, labels=fitted, label_names=names, warnings=(*samples.warnings, *said))


def _label_file(path: Path, samples: Samples) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Labels as a file holds them, and the names of classes."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return open_npy(path).whole(), ()
    if suffix == ".npz":
        arrays = open_npz(path)
        key = LABELS if LABELS in arrays else next(iter(arrays), None)
        if key is None or (key != LABELS and len(arrays) > 1):
            raise DataError(f"{path.name} has no array '{LABELS}'")
        return readable(arrays[key]).whole(), ()
    feed = getattr(samples.feed, "inner", samples.feed)
    if isinstance(feed, ImageFeed):
        return csv_labels(path, feed.names)
    raise DataError(f"{path.name}: labels of arrays are a .npy or .npz file of class numbers")
