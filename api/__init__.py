"""QuantScope: see what post-training quantization does to an ONNX model, layer by layer, and tune it.

    import quantscope as qs

    model = qs.load("model.onnx")
    data = qs.open_data("calib.npz", model)
    qs.quantize(model, data).save("model.int8.onnx")

What is public is listed in `__all__`; docs/python.md is a tour of it. Importing the package loads nothing
heavy: each name is fetched when it is first used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Recent releases of ONNX Runtime report their use to Microsoft, and keep an identifier in the user's cache
# folder, unless this is set before they are first imported. A value that the user has set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from quantscope._best_default import BestDefault, best_default
    from quantscope._calibrate import Calibration, TensorStatistics, calibrate, load_calibration
    from quantscope._compare import Comparison, compare
    from quantscope._data import open_data, random_data
    from quantscope._easyquant import EasyQuant, easyquant
    from quantscope._inspect import Inspection, inspect, load
    from quantscope._mixed import MixedPrecision, mixed_precision
    from quantscope._quantize import QuantizedModel, quantize
    from quantscope._recipe import load_recipe, recipe
    from quantscope._remedies import MeasuredRemedy
    from quantscope._sensitivity import Sensitivity, sensitivity
    from quantscope._thresholds import Threshold, Thresholds, thresholds
    from quantscope._tune import Tuning, tune
    from quantscope._version import __version__
    from quantscope._warnings import QuantScopeWarning
    from quantscope.core.data import Samples
    from quantscope.core.errors import DataError, ExportError, ModelError, QuantScopeError, RecipeError
    from quantscope.core.model import Model
    from quantscope.core.progress import Cancelled, Progress
    from quantscope.core.recipe import Recipe, save_recipe

__all__ = [
    "BestDefault",
    "Calibration",
    "Cancelled",
    "Comparison",
    "DataError",
    "EasyQuant",
    "ExportError",
    "Inspection",
    "MeasuredRemedy",
    "MixedPrecision",
    "Model",
    "ModelError",
    "Progress",
    "QuantScopeError",
    "QuantScopeWarning",
    "QuantizedModel",
    "Recipe",
    "RecipeError",
    "Samples",
    "Sensitivity",
    "TensorStatistics",
    "Threshold",
    "Thresholds",
    "Tuning",
    "__version__",
    "best_default",
    "calibrate",
    "compare",
    "easyquant",
    "inspect",
    "load",
    "load_calibration",
    "load_recipe",
    "mixed_precision",
    "open_data",
    "quantize",
    "random_data",
    "recipe",
    "save_recipe",
    "sensitivity",
    "thresholds",
    "tune",
]

# Where each name is fetched from; the imports above say the same to type checkers, and a test compares them.
_HOMES = {
    "_best_default": ("BestDefault", "best_default"),
    "_calibrate": ("Calibration", "TensorStatistics", "calibrate", "load_calibration"),
    "_compare": ("Comparison", "compare"),
    "_data": ("open_data", "random_data"),
    "_easyquant": ("EasyQuant", "easyquant"),
    "_inspect": ("Inspection", "inspect", "load"),
    "_mixed": ("MixedPrecision", "mixed_precision"),
    "_quantize": ("QuantizedModel", "quantize"),
    "_recipe": ("load_recipe", "recipe"),
    "_remedies": ("MeasuredRemedy",),
    "_warnings": ("QuantScopeWarning",),
    "_sensitivity": ("Sensitivity", "sensitivity"),
    "_thresholds": ("Threshold", "Thresholds", "thresholds"),
    "_tune": ("Tuning", "tune"),
    "_version": ("__version__",),
    "core.data": ("Samples",),
    "core.errors": ("DataError", "ExportError", "ModelError", "QuantScopeError", "RecipeError"),
    "core.model": ("Model",),
    "core.progress": ("Cancelled", "Progress"),
    "core.recipe": ("Recipe", "save_recipe"),
}


if not TYPE_CHECKING:  # a type checker would take every misspelt name for one that is fetched

    def __getattr__(name: str) -> Any:
        """Fetch a public name when it is first used."""
        for home, names in _HOMES.items():
            if name in names:
                value = getattr(import_module(f"{__name__}.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(__all__)
