"""Choose a range for a tensor by any of the methods, under a rule for scales where there is one."""

from dataclasses import replace

from quantscope.core.calibration import BySample, Histogram
from quantscope.core.methods import Method
from quantscope.core.quant import QuantSpec, Range, ScaleRule
from quantscope.core.thresholds.outcome import Search
from quantscope.core.thresholds.power_of_two import with_ruled_scale
from quantscope.core.thresholds.table import SEARCHES, SHARE, Given


def search(
    method: Method,
    histogram: Histogram,
    spec: QuantSpec,
    *,
    percentile: float = SHARE,
    manual: Range | None = None,
    by_sample: BySample | None = None,
) -> Search:
    """Choose a range for a tensor.

    A rule for scales (`spec.scale_rule`) works on what the method chose: curve and choice are the method's
    own, and the range is then changed to what an allowed scale spans.

    Args:
        method: How.
        histogram: The tensor's values.
        spec: The type it will have, and the scales that are allowed.
        percentile: Share of values kept, in percent; read by `percentile` only.
        manual: The user's range; `manual` needs it, the others do not read it.
        by_sample: What single samples showed; read by the methods in `core.methods.FROM_SAMPLES`.

    Raises:
        ValueError: `manual` without a range, or a percentile outside (0, 100].
    """
    free = replace(spec, scale_rule=ScaleRule.FREE)
    given = Given(percentile=percentile, manual=manual, by_sample=by_sample)
    found = SEARCHES[method](histogram, free, given)
    return found if spec.scale_rule is ScaleRule.FREE else with_ruled_scale(found, histogram, spec)
