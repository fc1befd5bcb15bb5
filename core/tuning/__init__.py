"""What to do about a loss: choices, fixes and precisions that measurement finds better."""

from quantscope.core.tuning.autotune_result import AutotuneResult, AutotuneStep
from quantscope.core.tuning.autotune_search import autotune
from quantscope.core.tuning.default_trials import DefaultTrial, MeasuredDefault, measured_default
from quantscope.core.tuning.easyquant_search import EasyQuantResult, easyquant
from quantscope.core.tuning.final_check import (
    AllFloat,
    AllFloatReason,
    FinalCheck,
    MeasuredOutputRemedy,
    MinMaxCloser,
    all_float,
    check_quantized,
    check_runs,
    check_tuned,
    why_all_float,
)
from quantscope.core.tuning.fix_trials import FixTrial, switch_pass, try_fixes, without_inserted_layers
from quantscope.core.tuning.held_out import Split, hold_out, judged_easyquant, judged_passes
from quantscope.core.tuning.remedies import OutputForecast, Remedy, output_forecast
from quantscope.core.tuning.remedies_for_outputs import OutputRemedy, output_remedies
from quantscope.core.tuning.unseen_samples import MARGIN_DB

__all__ = [
    "MARGIN_DB",
    "AllFloat",
    "AllFloatReason",
    "AutotuneResult",
    "AutotuneStep",
    "DefaultTrial",
    "EasyQuantResult",
    "FinalCheck",
    "FixTrial",
    "MeasuredDefault",
    "MeasuredOutputRemedy",
    "MinMaxCloser",
    "OutputForecast",
    "OutputRemedy",
    "Remedy",
    "Split",
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
    "output_remedies",
    "switch_pass",
    "try_fixes",
    "why_all_float",
    "without_inserted_layers",
]
