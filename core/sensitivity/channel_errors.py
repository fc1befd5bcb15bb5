"""Where a layer's own error comes from, channel by channel: the layer is run alone on a few samples."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quantscope.core.calibration import data_rows
from quantscope.core.data import Samples
from quantscope.core.model import Array, Layer, Model
from quantscope.core.progress import ProgressFn, report
from quantscope.core.quantize import Encodings
from quantscope.core.sensitivity.prior import Noise
from quantscope.core.sensitivity.quantizers import Quantizers, by_layer
from quantscope.core.sensitivity.simulator import simulation

Floats = npt.NDArray[np.float64]

SAMPLES = 8
_CHANNELS_FIRST = frozenset(
    {"Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "MaxPool", "GlobalAveragePool"}
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelErrors:
    """Errors of the output of a layer run alone, on float inputs; arrays are (channels,)."""

    layer: str
    tensor: str
    axis: int | None  # channel axis; None = not known, or sizes differ: all is one channel
    weights: float  # error energy over energy with only its weights rounded
    tensors: float  # with only what it computes rounded
    peak: Floats  # largest magnitude in float
    energy: Floats  # mean square in float
    noise: Floats  # mean squared error with only its weights rounded
    lost: Floats  # mean squared error with only what it computes rounded
    shift: Floats  # mean error with only its weights rounded
    shift_energy: Floats  # its square without what chance adds: from products of different samples

    @property
    def total(self) -> float:
        """Error over energy of the layer alone."""
        return self.weights + self.tensors

    @property
    def by_channel(self) -> Noise:
        """Means over the channels, so that small ones count as much as large ones.

        One channel with large values hides what happens to the others in a sum over all; the layers
        behind may well read only the others.
        """
        used = self.energy > 0.0
        if not used.any():
            return Noise()
        weights, tensors = (float(np.mean(x[used] / self.energy[used])) for x in (self.noise, self.lost))
        return Noise(weights=weights, tensors=tensors)

    @property
    def shift_share(self) -> float:
        """Part of the weights' error that is a constant shift of each channel, 0 to 1."""
        error = float(self.noise.sum())
        return min(max(float(self.shift_energy.sum()) / error, 0.0), 1.0) if error > 0.0 else 0.0


def measure_channel_errors(
    model: Model,
    encodings: Encodings,
    samples: Samples,
    layers: Iterable[str] | None = None,
    *,
    count: int = SAMPLES,
    progress: ProgressFn | None = None,
) -> dict[str, ChannelErrors]:
    """Run layers alone, on float inputs, and measure the errors of their outputs channel by channel.

    Args:
        model: The float model.
        encodings: Its quantizers.
        samples: The first `count` of them are used.
        layers: Which ones; None = all with quantizers of their own.
        count: Most samples to use.
        progress: Told after each sample; may raise `Cancelled`.

    Raises:
        DataError: The samples do not fit the model.
        ModelError: ONNX Runtime does not accept a part of the model.
    """
    own = by_layer(encodings)
    names = [name for name in (own if layers is None else layers) if name in own]
    totals = {name: _Total(model.layer(name)) for name in names}
    if not names:
        return {}
    simulated = simulation(model, encodings, plain=True)
    chosen = samples.take(count)
    parts = ((t.layer.inputs, t.layer.inner, t.layer.outputs) for t in totals.values())
    wanted = {name for groups in parts for group in groups for name in group}
    for done, sample in enumerate(chosen, 1):
        valid = chosen.valid(done - 1)
        base = simulated.trace(sample, Quantizers(), wanted)
        for name, total in totals.items():
            tensor = total.layer.output
            if (tensor, False) not in base.values:
                continue
            f = base.values[tensor, False]
            raw, _ = simulated.alone(base, Quantizers(weights=own[name].weights), total.layer)
            _, seen = simulated.alone(base, Quantizers(tensors=own[name].tensors), total.layer)
            given = (data_rows(x, chosen.batch, valid) for x in (f, raw[tensor], seen[tensor]))
            total.add(*given)
        report(progress, done, len(chosen), "looking at layers")
    return {name: total.result() for name, total in totals.items() if any(total.counts)}


@dataclass(slots=True)
class _Total:
    """Sums over the samples of one layer."""

    layer: Layer
    counts: list[int] = field(default_factory=list)  # values of a channel in each sample
    parts: list[tuple[Floats, ...]] = field(default_factory=list)

    def add(self, f: Array, weighted: Array, rounded: Array) -> None:
        rows, delta, lost = (_channels(x, self.axis(f.ndim)) for x in (f, weighted, rounded))
        delta, lost = delta - rows, lost - rows
        self.counts.append(rows.shape[1])
        sums = (x.sum(axis=1) for x in (rows**2, delta**2, lost**2, delta))
        self.parts.append((np.abs(rows).max(axis=1, initial=0.0), *sums))

    def axis(self, rank: int) -> int | None:
        """Where the channels of an output of this rank are."""
        if rank < 2:
            return None
        return 1 if rank >= 4 or self.layer.op in _CHANNELS_FIRST else rank - 1

    def result(self) -> ChannelErrors:
        alike = len({len(part[0]) for part in self.parts}) == 1
        parts = self.parts if alike else [_as_one(part) for part in self.parts]
        counts = [n if alike else n * len(part[0]) for n, part in zip(self.counts, self.parts, strict=True)]
        peak, energy, noise, lost, shift = (np.array(column) for column in zip(*parts, strict=True))
        means, runs, count = shift / np.maximum(counts, 1)[:, None], len(shift), sum(counts)
        pairs = means.sum(axis=0) ** 2 - (means**2).sum(axis=0)
        rank = 0 if self.layer.shape is None or not alike else len(self.layer.shape)
        scale = 1.0 / float(energy.sum()) if energy.any() else 0.0
        return ChannelErrors(
            layer=self.layer.name,
            tensor=self.layer.output,
            axis=self.axis(rank),
            weights=float(noise.sum()) * scale,
            tensors=float(lost.sum()) * scale,
            peak=peak.max(axis=0),
            energy=energy.sum(axis=0) / count,
            noise=noise.sum(axis=0) / count,
            lost=lost.sum(axis=0) / count,
            shift=shift.sum(axis=0) / count,
            shift_energy=pairs / max(runs * (runs - 1), 1),
        )


def _as_one(part: tuple[Floats, ...]) -> tuple[Floats, ...]:
    """All channels of one sample taken as one, where samples differ in how many they have."""
    peak, *sums = part
    return peak.max(axis=0, initial=0.0, keepdims=True), *(x.sum(axis=0, keepdims=True) for x in sums)


def _channels(x: Array, axis: int | None) -> Floats:
    """(channels, values of each) in float64."""
    values = np.asarray(x, np.float64)
    return values.reshape(1, -1) if axis is None else np.moveaxis(values, axis, 0).reshape(x.shape[axis], -1)
