"""Each tool's int8 file of a network: uint8 activations with a zero point, int8 weights around zero."""

import contextlib
import io
import logging
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.quality.networks import Array, Network
from quantscope.core.calibration import calibrate
from quantscope.core.data import open_samples
from quantscope.core.export import write_onnx
from quantscope.core.model import load_model
from quantscope.core.pipeline import quantize
from quantscope.core.recipe import Recipe
from quantscope.core.targets import Granularity
from quantscope.core.tuning import autotune, measured_default

Make = Callable[
    [Network, bool, Path], str
]  # network, per-channel weights, folder with the data → what it chose
DATA = "calibration.npz"
OUTPUT = "int8.onnx"


class Unavailable(Exception):
    """A tool that made no file, with the reason."""


def write_data(network: Network, folder: Path) -> None:
    """The calibration samples as a file, for tools that read one."""
    np.savez(folder / DATA, **{network.input: network.calibration})


class _Reader(CalibrationDataReader):
    def __init__(self, network: Network) -> None:
        count = len(network.calibration)
        batch = next(size for size in range(16, 0, -1) if count % size == 0)  # its histograms need equal ones
        self.parts: Iterator[Array] = iter(np.split(network.calibration, count // batch))
        self.input = network.input

    def get_next(self) -> dict[str, Array] | None:
        part = next(self.parts, None)
        return None if part is None else {self.input: part}


def _prepared(network: Network, folder: Path) -> Path:
    """The float file with BatchNormalization folded and constants computed, as both other tools want it."""
    path = folder / "prepared.onnx"
    logging.getLogger().setLevel(logging.ERROR)
    quant_pre_process(network.path, path, skip_symbolic_shape=True)
    return path


def onnxruntime_file(
    method: CalibrationMethod, options: dict[str, float], network: Network, per_channel: bool, folder: Path
) -> str:
    """`quantize_static`; `options` are the calibrator's.

    The calibrator runs by itself, since `quantize_static` has no way to ask for 2048 bins.
    """
    prepared, ranges = _prepared(network, folder), folder / "ranges.json"
    with contextlib.redirect_stdout(io.StringIO()):  # the histogram calibrators report there
        calibrator = create_calibrator(
            prepared,
            augmented_model_path=str(folder / "augmented.onnx"),
            calibrate_method=method,
            extra_options={"symmetric": False, **options},
        )
        calibrator.collect_data(_Reader(network))
        save_tensors_data(calibrator.compute_data(), ranges)
        quantize_static(
            prepared,
            folder / OUTPUT,
            calibration_cache_path=ranges,
            calibrate_method=method,
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    return ""


def nncf_file(python: str | None, network: Network, per_channel: bool, folder: Path) -> str:
    """`nncf.quantize` in a process of its own; it corrects biases only where BatchNormalization is folded."""
    if python is None:
        raise Unavailable("NNCF is not installed (pip install '.[bench]', or name a Python with --nncf)")
    command = [python, str(Path(__file__).with_name("nncf_file.py"))]
    command += [str(_prepared(network, folder)), str(folder / DATA), str(folder / OUTPUT)]
    command += [] if per_channel else ["--per-tensor"]
    command += ["--transformer"] if network.transformer else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise Unavailable(f"NNCF failed: {said[-1] if said else done.returncode}")
    return "SmoothQuant, fast bias correction" if network.transformer else "fast bias correction"


def quantscope_file(auto: bool, network: Network, per_channel: bool, folder: Path) -> str:
    """What `quantscope quantize` writes with `--auto` or without, given the calibration samples."""
    model = load_model(network.path)
    samples = open_samples(folder / DATA, model)
    start = Recipe().with_default(weights=Granularity.PER_CHANNEL if per_channel else Granularity.PER_TENSOR)
    statistics = calibrate(model, samples, cache=False)
    if auto:
        recipe = autotune(model, samples, start, statistics=statistics).recipe
    else:
        recipe = measured_default(model, statistics, samples, start).recipe
    made = quantize(model, recipe, samples, statistics=statistics, cache=False)
    write_onnx(made.proto, folder / OUTPUT)
    return _told(recipe)


def _told(recipe: Recipe) -> str:
    default = recipe.default
    share = f" {default.percentile:g}" if default.method == "percentile" else ""
    said = [f"{default.method}{share}", f"weights {default.weight_method}"]
    said += [choice.name for choice in recipe.passes]
    if recipe.layers:
        said.append(f"{len(recipe.layers)} layers set")
    return ", ".join(said)


def tools(nncf_python: str | None) -> dict[str, Make]:
    """All tools, by the name that they have in the table."""
    percentiles = {
        f"onnxruntime Percentile {share:g}": partial(
            onnxruntime_file, CalibrationMethod.Percentile, {"percentile": share}
        )
        for share in (99.999, 99.99, 99.9)
    }
    return {
        "onnxruntime MinMax": partial(onnxruntime_file, CalibrationMethod.MinMax, {}),
        **percentiles,
        "onnxruntime Entropy": partial(onnxruntime_file, CalibrationMethod.Entropy, {"num_bins": 2048}),
        "NNCF": partial(nncf_file, nncf_python),
        "QuantScope default": partial(quantscope_file, False),
        "QuantScope auto": partial(quantscope_file, True),
    }
