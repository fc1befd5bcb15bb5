"""What the Playground is set to: presets, settings in a link, and the sentence on the experiment."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from quantscope.core.playground import DISTRIBUTIONS, BitsCurve, KlAdmmDraw, draw
from quantscope.core.quant import QuantSpec, QuantType, Range
from quantscope.core.recipe import Choice
from quantscope.core.thresholds import FROM_HISTOGRAM, Method
from quantscope.ui.content import text

SIZES = (1_000, 5_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
SEEDS = 9999
# One array has neither samples to average over nor rows of scores.
PLAYED = FROM_HISTOGRAM  # nothing is drawn sample by sample
_PREFIX = "p_"  # of a distribution's own parameters in a link
_TRUE = {"1": True, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that the page shows follows from these."""

    distribution: str = "normal"
    parameters: Mapping[str, float] = field(default_factory=dict)  # those that differ from the defaults
    size: int = 200_000
    seed: int = 0
    bits: int = 8
    signed: bool = True
    symmetric: bool = True
    method: Method = Method.MSE
    low: float | None = None  # of a range set by hand
    high: float | None = None
    experiment: bool = False  # KL against ADMM
    tools: bool = False  # thresholds of other tools

    @property
    def spec(self) -> QuantSpec:
        """The quantizer's type."""
        return QuantSpec(type=QuantType(self.bits, self.signed), symmetric=self.symmetric)

    @property
    def choice(self) -> Choice:
        """How the range is chosen."""
        if self.method is Method.MANUAL and self.low is not None and self.high is not None:
            return Choice(method=Method.MANUAL, range=Range(self.low, self.high), percentile=99.99)
        method = Method.MSE if self.method is Method.MANUAL else self.method
        return Choice(method=method, percentile=99.99)

    @property
    def values(self) -> dict[str, float]:
        """Every parameter of the distribution."""
        return DISTRIBUTIONS[self.distribution].values(self.parameters)

    @property
    def data(self) -> tuple[Hashable, ...]:
        """What the drawn values depend on."""
        return (self.distribution, tuple(self.values.items()), self.size, self.seed)

    def by_hand(self, low: float, high: float) -> "Settings":
        """With a range set by hand."""
        return replace(self, method=Method.MANUAL, low=low, high=high)

    def of(self, distribution: str) -> "Settings":
        """With another distribution at its defaults; a range set by hand fits no other data."""
        method = Method.MSE if self.method is Method.MANUAL else self.method
        return replace(self, distribution=distribution, parameters={}, method=method, low=None, high=None)


def drawn(settings: Settings) -> npt.NDArray[np.float32]:
    """The drawn values."""
    return draw(settings.distribution, size=settings.size, seed=settings.seed, **settings.values)


def to_query(settings: Settings) -> dict[str, str]:
    """The settings as parts of a link; what is at its default is left out, but for the distribution."""
    given, default = asdict(settings), asdict(Settings())
    out = {"distribution": settings.distribution}
    for name, value in given.items():
        if name in ("distribution", "parameters") or value is None or value == default[name]:
            continue
        out[name] = str(int(value)) if isinstance(value, bool) else f"{value}"
    for p in DISTRIBUTIONS[settings.distribution].parameters:
        if (value := settings.values[p.name]) != p.default:
            out[_PREFIX + p.name] = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return out


def query_text(settings: Settings) -> str:
    """The settings as the part of a link after the question mark."""
    return urlencode(to_query(settings))


def from_query(query: Mapping[str, str]) -> Settings:
    """Settings of a link; whatever cannot be used in it is left at its default."""
    known = Settings()
    name = query.get("distribution", "")
    distribution = name if name in DISTRIBUTIONS else known.distribution
    own = {p.name: _float(query.get(_PREFIX + p.name)) for p in DISTRIBUTIONS[distribution].parameters}
    low, high = _float(query.get("low")), _float(query.get("high"))
    method = query.get("method", known.method)
    usable = low is not None and high is not None and low <= 0.0 <= high
    if method not in {*PLAYED, Method.MANUAL} or (method == Method.MANUAL and not usable):
        method = known.method
    manual = method == Method.MANUAL
    return Settings(
        distribution=distribution,
        parameters={key: value for key, value in own.items() if value is not None},
        size=_whole(query.get("size"), known.size, SIZES[0], SIZES[-1]),
        seed=_whole(query.get("seed"), known.seed, 0, SEEDS),
        bits=_whole(query.get("bits"), known.bits, 2, 16),
        signed=_TRUE.get(query.get("signed", ""), known.signed),
        symmetric=_TRUE.get(query.get("symmetric", ""), known.symmetric),
        method=Method(method),
        low=low if manual else None,
        high=high if manual else None,
        experiment=_TRUE.get(query.get("experiment", ""), False),
        tools=_TRUE.get(query.get("tools", ""), False),
    )


def _float(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: str | None, default: int, low: int, high: int) -> int:
    number = _float(value)
    return default if number is None else int(min(max(number, low), high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Settings worth looking at, and what to look for."""

    label: str
    settings: Settings
    look: str


PRESETS: tuple[Preset, ...] = (
    Preset(
        label="Start here: a normal distribution",
        settings=Settings(),
        look="Drag the clip line. To the left, clipping grows; to the right, the steps get coarser. "
        "The best place is where the sum of both is smallest.",
    ),
    Preset(
        label="KL against ADMM: three draws of normal data",
        settings=Settings(experiment=True, method=Method.KL),
        look="The published experiment: what each method chooses, beside three standard deviations.",
    ),
    Preset(
        label="One outlier in ten thousand",
        settings=Settings(distribution="outliers", method=Method.MINMAX),
        look="MinMax keeps the outliers and gives nearly all values to a handful of levels. "
        "Click MSE above the histogram and compare the SQNR.",
    ),
    Preset(
        label="ReLU in a signed type",
        settings=Settings(distribution="relu"),
        look="Half of the levels stand below zero, where there are no values. "
        "Switch the type to unsigned: the SQNR gains 6 dB, one bit.",
    ),
    Preset(
        label="Four bits",
        settings=Settings(distribution="laplace", bits=4),
        look="With 16 levels every one of them counts: the methods move apart, and clipping pays earlier.",
    ),
    Preset(
        label="Softmax: small probabilities",
        settings=Settings(distribution="softmax", signed=False, symmetric=False, method=Method.MINMAX),
        look="Most values are smaller than half a step and become zero. A logarithmic grid keeps them, yet "
        "has the larger squared error, which the few large ones make. What matters, the network decides.",
    ),
    Preset(
        label="Zero outside of the data",
        settings=Settings(
            distribution="negative", parameters={"gap": 10.0}, symmetric=False, method=Method.MINMAX
        ),
        look="Zero must be a level, so the range reaches up to it and most levels stand where no value is.",
    ),
    Preset(
        label="Why do tools disagree? Mostly zeros",
        settings=Settings(distribution="zeros", method=Method.KL, tools=True),
        look="One idea, KL, in many tools: some count the zeros, some replace their bin, some drop it.",
    ),
)


def finding(draws: Sequence[KlAdmmDraw]) -> str:
    """One paragraph on what the draws show, from their numbers."""
    kl = [d.thresholds[Method.KL] for d in draws]
    admm = [d.thresholds[Method.ADMM] for d in draws]
    bound = [d.bound for d in draws]
    ratio = [a / b for a, b in zip(kl, admm, strict=True)]
    wider = sum(r > 1.0 for r in ratio)
    if wider in (0, len(ratio)):
        which = "wider" if wider else "narrower"
        gap = 100.0 * sum(abs(r - 1.0) for r in ratio) / len(ratio)
        order = f"KL chooses the {which} range in every draw, by {gap:.0f} % on average"
    else:
        order = f"KL chooses the wider range in {wider} of {len(ratio)} draws, ADMM in the others"
    beyond = [t / b for t, b in zip(kl + admm, bound + bound, strict=True)]
    low, high = min(beyond), max(beyond)
    if low > 1.0:
        place = f"Both lie outside of three standard deviations, {low:.2f} to {high:.2f} times as far out"
    elif high < 1.0:
        place = f"Both lie within three standard deviations, at {low:.2f} to {high:.2f} of the way"
    else:
        place = f"They lie around three standard deviations, at {low:.2f} to {high:.2f} times the way"
    cost = {
        m: sum(d.mse[m] / d.mse[Method.MSE] for d in draws) / len(draws) for m in (Method.KL, Method.ADMM)
    }
    excess = {m: _excess(cost[m]) for m in cost}
    if excess[Method.KL] == excess[Method.ADMM]:
        closer = f"Both cost about the same: {excess[Method.KL]} more than the least squared error"
    else:
        better = "KL" if cost[Method.KL] < cost[Method.ADMM] else "ADMM"
        closer = (
            f"{better} comes closer to the least squared error "
            f"(KL {excess[Method.KL]}, ADMM {excess[Method.ADMM]} above it)"
        )
    spread = {
        "KL": (max(kl) - min(kl)) / (sum(kl) / len(kl)),
        "ADMM": (max(admm) - min(admm)) / (sum(admm) / len(admm)),
    }
    steadier = min(spread, key=lambda name: spread[name])
    return (
        f"{order}. {place}. {closer}. "
        f"{steadier} moves less from draw to draw "
        f"(KL {text.percent(spread['KL'], 1)}, ADMM {text.percent(spread['ADMM'], 1)} of the threshold)."
    )


def _excess(ratio: float) -> str:
    return f"{100.0 * (ratio - 1.0):.0f} %"


def draw_table(draws: Sequence[KlAdmmDraw]) -> dict[str, list[float]]:
    """The draws as columns."""
    columns: dict[str, list[float]] = {
        "seed": [d.seed for d in draws],
        "mean": [round(d.mean, 4) for d in draws],
        "σ": [round(d.sigma, 4) for d in draws],
        "3σ bound": [round(d.bound, 3) for d in draws],
        "KL": [round(d.thresholds[Method.KL], 3) for d in draws],
        "ADMM": [round(d.thresholds[Method.ADMM], 3) for d in draws],
        "least MSE": [round(d.thresholds[Method.MSE], 3) for d in draws],
    }
    return columns | {key: [round(d.tools[key], 3) for d in draws] for key in draws[0].tools}


def tools_finding(draws: Sequence[KlAdmmDraw]) -> str:
    """What MNN's own code would choose for these values."""
    kl, admm = ([d.tools[key] for d in draws] for key in ("MNN/kl", "MNN/admm"))
    return (
        f"MNN, which offers both, would choose {_span(kl)} with its KL and {_span(admm)} with its ADMM; "
        "its ADMM adds up in float32, so that over many values its sums stop growing."
    )


def _span(numbers: Sequence[float]) -> str:
    low, high = text.number(min(numbers), 3), text.number(max(numbers), 3)
    return low if low == high else f"{low} to {high}"


def bits_finding(curves: Sequence[BitsCurve]) -> str:
    """Where the methods differ, from their numbers."""
    by = {curve.method: curve for curve in curves}
    full, best = by[Method.MINMAX], by[Method.MSE]
    gain = {
        bits: b - a
        for bits, a, b in zip(full.bits, full.sqnr_db, best.sqnr_db, strict=True)
        if math.isfinite(a) and math.isfinite(b)
    }
    if not gain:
        return "Here nothing is lost with any number of bits."
    said = [f"{gain[bits]:.1f} dB with {bits} bits" for bits in (4, 8, 12) if bits in gain]
    if max(gain.values()) < 0.5:
        return "Here clipping wins next to nothing: MinMax is as good as the least-error range."
    return f"Here the least-error range is better than MinMax by {', '.join(said)}."
