"""Which layers matter: runs of a model with some of its quantizers on, and the rankings made of them."""

from quantscope.core.sensitivity.channel_errors import ChannelErrors, measure_channel_errors
from quantscope.core.sensitivity.prior import Noise, WeightNoise, layer_noise, weight_noise
from quantscope.core.sensitivity.quantizers import Quantizers, all_quantizers, by_layer, restricted, root_of
from quantscope.core.sensitivity.rankings import (
    Metric,
    MetricEstimate,
    RankingRow,
    metric_estimate,
    metrics_of,
    ranking,
)
from quantscope.core.sensitivity.runs import SAMPLES, Kind, Run, RunPlan, Subject, plan_runs, run_sensitivity
from quantscope.core.sensitivity.simulator import Simulation, Trace, simulation
from quantscope.core.sensitivity.suspects import Suspect, suspects
from quantscope.core.sensitivity.turning_point import LIMIT_DB, TurningPoint, find_turning_point

__all__ = [
    "LIMIT_DB",
    "SAMPLES",
    "ChannelErrors",
    "Kind",
    "Metric",
    "MetricEstimate",
    "Noise",
    "Quantizers",
    "RankingRow",
    "Run",
    "RunPlan",
    "Simulation",
    "Subject",
    "Suspect",
    "Trace",
    "TurningPoint",
    "WeightNoise",
    "all_quantizers",
    "by_layer",
    "find_turning_point",
    "layer_noise",
    "measure_channel_errors",
    "metric_estimate",
    "metrics_of",
    "plan_runs",
    "ranking",
    "restricted",
    "root_of",
    "run_sensitivity",
    "simulation",
    "suspects",
    "weight_noise",
]
