"""What to do about a loss: choices, fixes and precisions that measurement finds better."""

from quantscope.core.tuning.autotune_search import autotune
from quantscope.core.tuning.easyquant_search import EasyQuantResult, easyquant
from quantscope.core.tuning.final_check import (
    AllFloat,
    AllFloatReason,
    FinalCheck,
    MeasuredSparing,
    MinMaxCloser,
    all_float,
    check_quantized,
    check_runs,
    check_tuned,
    why_all_float,
)
from quantscope.core.tuning.held_out import Split, hold_out, judged_easyquant, judged_passes
from quantscope.core.tuning.remedies import OutputForecast, Remedy, output_forecast
from quantscope.core.tuning.spare_outputs import Sparing, sparings
from quantscope.core.tuning.story import AutotuneResult, Step
from quantscope.core.tuning.trials import (
    FixTrial,
    MeasuredDefault,
    Trial,
    measured_default,
    representative,
    toggled,
    tried_fixes,
    without_inserted,
)
from quantscope.core.tuning.unseen_samples import MARGIN_DB

__all__ = [
    "MARGIN_DB",
    "AllFloat",
    "AllFloatReason",
    "AutotuneResult",
    "EasyQuantResult",
    "FinalCheck",
    "FixTrial",
    "MeasuredDefault",
    "MeasuredSparing",
    "MinMaxCloser",
    "OutputForecast",
    "Remedy",
    "Sparing",
    "Split",
    "Step",
    "Trial",
    "all_float",
    "autotune",
    "check_quantized",
    "check_runs",
    "check_tuned",
    "easyquant",
    "hold_out",
    "judged_easyquant",
    "judged_passes",
    "measured_default",
    "output_forecast",
    "representative",
    "sparings",
    "toggled",
    "tried_fixes",
    "why_all_float",
    "without_inserted",
]
