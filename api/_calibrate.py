"""Calibration: what the tensors of a model hold over the samples."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantscope._data import as_samples
from quantscope._inspect import ModelLike, as_model
from quantscope._paths import path_of
from quantscope._progress import ProgressOption, shown
from quantscope._table import Table, frame
from quantscope._warnings import warn
from quantscope.core.calibration import Histogram, Statistics
from quantscope.core.calibration import calibrate as collect
from quantscope.core.errors import DataError, ExportError
from quantscope.core.model import Model

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from quantscope._thresholds import Thresholds

SYNTHETIC = "these statistics come from random samples; thresholds found on them are guesses"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TensorStatistics(Table):
    """What one tensor held over all samples.

    Attributes:
        name: The tensor.
        histogram: Counts of its values in bins of one width: `counts` (bins,), `edges` (bins + 1,). Exact
            zeros are counted apart.
    """

    name: str
    histogram: Histogram

    @property
    def min(self) -> float:
        """The smallest finite value."""
        return self.histogram.min

    @property
    def max(self) -> float:
        """The largest finite value."""
        return self.histogram.max

    @property
    def count(self) -> int:
        """Finite values, zeros included."""
        return self.histogram.count

    @property
    def zeros(self) -> int:
        """Values that are exactly zero."""
        return self.histogram.zeros

    def thresholds(
        self,
        *,
        type: str = "uint8",
        symmetric: bool = False,
        percentile: float = 99.99,
        scale_rule: str = "free",
    ) -> Thresholds:
        """What every method chooses for this tensor; see `quantscope.thresholds`.

        The default type is that of activations. Errors are read off the histogram.
        """
        from quantscope._thresholds import of_histogram

        return of_histogram(self.histogram, self.name, type, symmetric, percentile, scale_rule)

    def to_pandas(self) -> pd.DataFrame:
        """One row a bin of the histogram: low, high (its ends), count."""
        edges = self.histogram.edges
        table = {"low": edges[:-1], "high": edges[1:], "count": self.histogram.counts}
        import pandas as pd

        return pd.DataFrame(table)

    def plot(self) -> go.Figure:
        """The histogram, with counts on a log scale."""
        from quantscope._figures import histogram_figure

        return histogram_figure(self.histogram, self.name)

    def _headline(self) -> str:
        h = self.histogram
        return f"{self.name}, {h.count:,} values in [{h.min:.4g}, {h.max:.4g}], {h.zeros:,} are zero"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Calibration(Table, Mapping[str, TensorStatistics]):
    """Statistics of a model's activations, by the name of the tensor or of the layer that produces it.

    Attributes:
        model: The float model.
        statistics: The histograms, and which data they come from.
    """

    model: Model
    statistics: Statistics

    @property
    def samples(self) -> int:
        """Samples that the model was run on."""
        return self.statistics.samples

    @property
    def synthetic(self) -> bool:
        """Whether the samples were made up, so that thresholds are guesses."""
        return self.statistics.synthetic

    def __getitem__(self, name: str) -> TensorStatistics:
        found = self.statistics.histograms.get(name)
        if found is None and name in self.model.layer_names:
            tensor = self.model.layer(name).output
            name, found = tensor, self.statistics.histograms.get(tensor)
        if found is None:
            near = difflib.get_close_matches(str(name), list(self), n=3) or list(self)[:3]
            raise KeyError(f"nothing was recorded of {name!r}; did you mean {', '.join(map(repr, near))}?")
        return TensorStatistics(name=name, histogram=found)

    def __iter__(self) -> Iterator[str]:
        return iter(self.statistics.histograms)

    def __len__(self) -> int:
        return len(self.statistics.histograms)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the statistics, which `load_calibration` and the option --stats read.

        Args:
            path: A file that ends in .npz.

        Raises:
            ExportError: It ends otherwise, or cannot be written.
        """
        file = Path(path)
        if file.suffix.lower() != ".npz":
            raise ExportError(f"{file} should end in .npz, since that is what will be in it")
        try:
            self.statistics.save(file)
        except OSError as error:
            raise ExportError(f"{file} cannot be written: {error.strerror or error}") from error
        return file

    def to_pandas(self) -> pd.DataFrame:
        """One row a tensor: tensor, min, max, count, zeros, nan_or_inf (numbers of values)."""
        rows: list[dict[str, object]] = [
            {
                "tensor": name,
                "min": h.min,
                "max": h.max,
                "count": h.count,
                "zeros": h.zeros,
                "nan_or_inf": h.nans + h.infs,
            }
            for name, h in self.statistics.histograms.items()
        ]
        return frame(rows, ("tensor", "min", "max", "count", "zeros", "nan_or_inf"))

    def _headline(self) -> str:
        return f"{len(self)} tensors of {self.model.name}, {self.samples:,} samples"

    def _remarks(self) -> tuple[str, ...]:
        said = [SYNTHETIC] if self.synthetic else []
        return (*said, *(f"{name} held NaN or infinities" for name in self.statistics.not_finite))


CalibrationLike = Calibration | str | os.PathLike[str]


def calibrate(
    model: ModelLike,
    data: Any,
    *,
    threads: int | None = None,
    cache: bool = True,
    progress: ProgressOption = None,
) -> Calibration:
    """Run a model over samples, and count what its activations hold.

    Args:
        model: A float model, or the path of one.
        data: Samples, or anything that `open_data` opens. Labels are not needed.
        threads: Samples that are run side by side; None = one a processor. Results do not depend on it.
        cache: Whether to keep the result in the user's cache folder, and to look there first.
        progress: True, False, or a function that is told each `Progress`; None = a bar where somebody looks.

    Raises:
        ModelError: The model cannot be opened.
        DataError: The samples do not fit the model.

    Examples:
        >>> stats = qs.calibrate(model, data)
        >>> stats
        <Calibration: 4 tensors of model, 192 samples>
        >>> stats["pixels"].min, stats["pixels"].max
        (0.0, 1.0)
    """
    opened = as_model(model)
    samples = as_samples(data, opened)
    with shown(progress, "calibrating") as heard:
        found = collect(opened, samples, threads=threads, cache=cache, progress=heard)
    return Calibration(model=opened, statistics=found)


def load_calibration(path: str | os.PathLike[str], model: ModelLike) -> Calibration:
    """Read statistics that `Calibration.save` or `quantscope calibrate` wrote.

    Args:
        path: The .npz file.
        model: The model that they are of.

    Raises:
        DataError: There is no such file, or it holds something else, or statistics of another model.

    Warns:
        QuantScopeWarning: They come from random samples.
    """
    file = path_of(path, DataError, "what calibrate() gives, or the path of it,")
    opened, found = as_model(model), Statistics.load(file)
    if found.model_hash != opened.hash:
        raise DataError(f"{file.name} holds statistics of another model; calibrate this one")
    if found.synthetic:
        warn([SYNTHETIC])
    return Calibration(model=opened, statistics=found)


def as_calibration(calibration: CalibrationLike, model: Model) -> Calibration:
    """A calibration, or the one in a file.

    Raises:
        DataError: It is of another model.
    """
    if not isinstance(calibration, Calibration):
        return load_calibration(calibration, model)
    if calibration.statistics.model_hash != model.hash:
        raise DataError(f"the calibration is of {calibration.model.name}; calibrate {model.name} too")
    return calibration
