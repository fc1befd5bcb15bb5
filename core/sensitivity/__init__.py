"""Which layers matter: runs of a model with some of its quantizers on, and the rankings made of them."""

from quantscope.core.sensitivity.channel_errors import Evidence, gather
from quantscope.core.sensitivity.prior import Noise, WeightNoise, layer_noise, weight_noise
from quantscope.core.sensitivity.quantizers import Quantizers, all_quantizers, by_layer, restricted, root_of
from quantscope.core.sensitivity.rankings import Figure, Metric, Score, figure, metrics_of, ranking
from quantscope.core.sensitivity.runs import SAMPLES, Kind, Plan, Run, Subject, plan, stream
from quantscope.core.sensitivity.simulator import Simulation, Trace, simulation
from quantscope.core.sensitivity.turning import Turn, first_bad

__all__ = [
    "SAMPLES",
    "Evidence",
    "Figure",
    "Kind",
    "Metric",
    "Noise",
    "Plan",
    "Quantizers",
    "Run",
    "Score",
    "Simulation",
    "Subject",
    "Trace",
    "Turn",
    "WeightNoise",
    "all_quantizers",
    "by_layer",
    "figure",
    "first_bad",
    "gather",
    "layer_noise",
    "metrics_of",
    "plan",
    "ranking",
    "restricted",
    "root_of",
    "simulation",
    "stream",
    "weight_noise",
]
