"""The threshold methods, one declaration each: name, label, what it does, its source, and what it needs.

A new method is a member of `Method`, an entry of `METHODS`, and its search in `core/thresholds/table.py`. The
choices of the command line and its help, the labels of the app, and what the best default and Auto-tune try
follow from the entry; `tests/test_conformance_methods.py` runs every method through the same checks. This
module imports nothing heavy, so that `--help` answers at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Needs(StrEnum):
    """What a method reads beside the histogram of a tensor."""

    HISTOGRAM = "histogram"  # nothing else
    SHARE = "share"  # the share of values to keep, which has a default
    SAMPLES = "samples"  # what single samples showed; without it, every value is kept
    RANGE = "range"  # the range that the user sets; it is required


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFacts:
    """What is known of a threshold method without running it."""

    label: str  # for people
    phrase: str  # what it chooses, in a few words, for lists
    sentence: str  # what it chooses
    source: str  # the paper or tool that it follows, or why there is none
    needs: Needs = Needs.HISTOGRAM
    default_trial: bool = False  # the best default of a network tries it
    autotune: bool = False  # Auto-tune tries it on a network changed by fixes, and on single layers


class Method(StrEnum):
    """How a range is chosen."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    MSE = "mse"
    COSINE = "cosine"
    KL = "kl"
    KL_V2 = "kl_v2"
    ACIQ = "aciq"
    OCTAV = "octav"
    ADMM = "admm"
    MOVING_AVERAGE = "moving_average"
    ISOTONE = "isotone"
    MANUAL = "manual"

    @property
    def facts(self) -> MethodFacts:
        """What is declared about it."""
        return METHODS[self]


# In the order in which methods are listed and tried.
METHODS: Mapping[Method, MethodFacts] = MappingProxyType(
    {
        Method.MINMAX: MethodFacts(
            label="MinMax",
            phrase="every value seen",
            sentence="Keeps every value seen, from the least to the largest.",
            source="the observed extremes; no search",
            default_trial=True,
            autotune=True,
        ),
        Method.PERCENTILE: MethodFacts(
            label="Percentile",
            phrase="a share of the values",
            sentence="Keeps a given share of the values and cuts off the rest at the far ends.",
            source="quantiles of the histogram",
            needs=Needs.SHARE,
            default_trial=True,
            autotune=True,
        ),
        Method.MSE: MethodFacts(
            label="MSE",
            phrase="least squared error",
            sentence="Chooses the range with the least mean squared error.",
            source="a refined grid of candidates; the error is exact for the histogram",
            default_trial=True,
            autotune=True,
        ),
        Method.COSINE: MethodFacts(
            label="Cosine",
            phrase="direction kept best",
            sentence="Chooses the range with the largest cosine between the values and their quantized ones.",
            source="a refined grid of candidates; the cosine is exact for the histogram",
        ),
        Method.KL: MethodFacts(
            label="KL",
            phrase="least divergence",
            sentence="Chooses the range whose quantized histogram diverges least from the histogram.",
            source='S. Migacz, "8-bit inference with TensorRT", GTC 2017',
        ),
        Method.KL_V2: MethodFacts(
            label="KL v2",
            phrase="KL, robust to zeros",
            sentence="Works as KL, but exact zeros and outliers do not distort the divergence.",
            source="QuantScope's own; no tool publishes a method of this name",
            default_trial=True,
            autotune=True,
        ),
        Method.ACIQ: MethodFacts(
            label="ACIQ",
            phrase="best for a fitted density",
            sentence="Fits a Gauss or Laplace density and takes the range that is optimal for it.",
            source='R. Banner et al., "Post training 4-bit quantization of convolutional networks for '
            'rapid-deployment", NeurIPS 2019',
        ),
        Method.OCTAV: MethodFacts(
            label="OCTAV",
            phrase="clipping balances rounding",
            sentence="Iterates to the range that balances the errors of clipping and of rounding.",
            source='C. Sakr et al., "Optimal Clipping and Magnitude-aware Differentiation for Improved '
            'Quantization-aware Training", ICML 2022',
            default_trial=True,
        ),
        Method.ADMM: MethodFacts(
            label="ADMM",
            phrase="integers and scale in turn",
            sentence="Alternates between the integers for a scale and the scale for these integers.",
            source="MNN's offline quantizer, after C. Leng et al., "
            '"Extremely Low Bit Neural Network: Squeeze the Last Bit Out with ADMM", AAAI 2018',
        ),
        Method.MOVING_AVERAGE: MethodFacts(
            label="Moving average",
            phrase="over samples",
            sentence="Averages the extremes over the samples, so that no single sample decides.",
            source="PyTorch's MovingAverageMinMaxObserver",
            needs=Needs.SAMPLES,
        ),
        Method.ISOTONE: MethodFacts(
            label="Isotone",
            phrase="order of classes kept",
            sentence="Keeps the highest score of each row ahead of the second; for outputs of classifiers.",
            source="PPQ's observer of this name",
            needs=Needs.SAMPLES,
        ),
        Method.MANUAL: MethodFacts(
            label="Manual",
            phrase="the range you set",
            sentence="Keeps the range that the user set.",
            source="no search",
            needs=Needs.RANGE,
        ),
    }
)
AUTOMATIC = tuple(method for method in METHODS if method.facts.needs is not Needs.RANGE)
# Those that need no more than a histogram, since a share to keep has a default.
FROM_HISTOGRAM = tuple(m for m in METHODS if m.facts.needs in (Needs.HISTOGRAM, Needs.SHARE))
FROM_SAMPLES = tuple(method for method in METHODS if method.facts.needs is Needs.SAMPLES)
