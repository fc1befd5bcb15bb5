"""Reference modes against numbers of the tools themselves, without any file beside the checkout.

The numbers in FACTS were computed by each tool's own code, in the version that its `Reference` names, on the
three arrays below. The tests with onnxruntime run its code here.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
from functools import cache
from typing import Any

import numpy as np
import pytest

from quantscope.core.thresholds.reference import REFERENCES, reference_thresholds
from quantscope.core.thresholds.reference.pairwise import pairwise_sum

SIZE = 200_000
DIGESTS = {"normal": "c0dc1c07518ee37a", "laplace": "8145d48321cd396c", "relu_normal": "f51c83d080c55b6e"}


@cache
def array(name: str) -> Any:
    """200 000 float32 values: seed 0 for `normal`, seed 1 for the others."""
    rng = np.random.default_rng(0 if name == "normal" else 1)
    x = rng.laplace(0.0, 1.0, SIZE) if name == "laplace" else rng.standard_normal(SIZE)
    x = np.maximum(x, 0.0) if name == "relu_normal" else x
    values = x.astype(np.float32)
    if hashlib.sha256(values.tobytes()).hexdigest()[:16] != DIGESTS[name]:
        pytest.skip(f"this NumPy draws other numbers for {name}")
    return values


# (tool/algorithm, fields, numbers for normal, laplace, relu_normal): float32, with the tool's defaults.
# fmt: off
FACTS: list[tuple[str, str, Any, Any, Any]] = [
    ("onnxruntime/entropy", "low high", (-4.5939903, 4.731958), (-13.38216, 10.90811), (0.0, 4.4063535)),
    ("onnxruntime/percentile", "low high", (-4.4939737, 4.4939737), (-10.905677, 10.905677), (0.0, 4.118047)),
    ("onnxruntime/minmax", "low high", (-4.5939903, 4.731958), (-13.38216, 10.90811), (0.0, 4.4063535)),
    ("nvidia-modelopt/entropy", "threshold", 4.267542, 10.69658, 4.012622),
    ("nvidia-modelopt/mse", "threshold", 0.29690263, 0.8396522, 0.27647287),
    ("nvidia-modelopt/mse_intended", "threshold", 4.007608, 9.954942, 3.8652413),
    ("nvidia-modelopt/percentile", "threshold", 3.9001684, 9.402797, 3.7479823),
    ("nvidia-modelopt/max", "threshold", 4.731958, 13.38216, 4.4063535),
    ("nvidia-modelopt/mse_calibrator", "threshold", 3.9848068, 9.94858, 3.7106135),
    ("pytorch-quantization/entropy", "threshold", 4.267542, 10.69658, 4.012622),
    ("pytorch-quantization/mse", "threshold", 4.007608, 9.954942, 3.8652413),
    ("pytorch-quantization/percentile", "threshold", 3.9001684, 9.402797, 3.7479823),
    ("torch.ao/histogram", "low high", (-4.0023866, 3.971118), (-10.427086, 9.415503), (0.0, 3.9050448)),
    ("torch.ao/minmax", "low high", (-4.6081157, 4.717833), (-13.3358345, 10.954435), (0.0, 4.4063535)),
    ("ppq/kl", "low high", (-4.731958, 4.6949897), (-13.38216, 13.277612), (-4.4063535, 4.3719287)),
    ("ppq/mse", "low high", (-4.1567, 4.124226), (-11.755309, 11.663471), (-4.423633, 4.3890734)),
    ("ppq/percentile", "low high", (-3.788008, 3.7584143), (-8.74885, 8.680499), (-3.7663474, 3.7369227)),
    ("ppq/minmax", "low high", (-4.7505145, 4.7134013), (-13.434639, 13.32968), (-4.423633, 4.3890734)),
    ("ppq/isotone", "low high", (-3.308019, 3.282175), (-6.343158, 6.293602), (-3.2557516, 3.2303162)),
    ("ncnn/kl", "inverse_scale", 30.359476, 12.439056, 31.624695),
    ("ncnn/aciq", "inverse_scale", 31.278177, 11.060023, 33.589455),
    ("MNN/kl", "scale", 0.032884065, 0.08430222, 0.031620856),
    ("MNN/admm", "scale", 0.02828301, 0.08282418, 0.030116942),
    ("MNN/max", "scale", 0.037250414, 0.105345614, 0.034687225),
    ("Tengine/kl_s8", "scale", 0.035394717, 0.08425076, 0.031603917),
    ("Tengine/kl_u8", "scale zero_point", (0.032357957, 123), (0.08316292, 123), (0.015731553, 0)),
    ("Tengine/aciq_s8", "scale", 0.03197117, 0.09041572, 0.02977125),
    ("Tengine/aciq_u8", "scale", 0.031845797, 0.09006115, 0.0296545),
    ("Tengine/minmax_s8", "scale", 0.03725951, 0.10537134, 0.034695696),
    ("tpu-mlir/kl", "threshold", 4.731958, 13.38216, 4.4063535),
    ("tpu-mlir/octav_mse", "threshold", 3.9445803, 9.876475, 3.9571373),
    ("tpu-mlir/aciq_gauss", "threshold", 4.0011425, 10.421334, 1.8904724),
    ("tpu-mlir/aciq_laplace", "threshold", 4.731958, 9.876529, 4.4063535),
    ("aimet/tf_enhanced", "low high", (-4.337386, 4.3715386), (-13.378625, 10.816761), (0.0, 4.397747)),
    ("aimet/mse", "low high", (-4.1966805, 4.163894), (-11.61378, 10.162057), (0.0, 3.9072092)),
    ("aimet/entropy", "low high", (-3.9961002, 4.0912457), (-10.704017, 10.455086), (0.0, 3.9932578)),
    ("aimet/percentile", "low high", (-3.7556658, 3.785238), (-8.634432, 8.302339), (0.0, 3.7522852)),
    ("aimet-torch/sqnr_gamma3_2048", "low high",
     (-4.320109, 4.4229684), (-11.168761, 10.085225), (0.0, 4.181716)),
    ("aimet-torch/sqnr_gamma1_2048", "low high",
     (-4.0321016, 4.128104), (-10.370993, 9.364851), (-0.0, 4.130956)),
    ("aimet-torch/tf_enhanced_512", "low high",
     (-4.0321016, 4.128104), (-13.36196, 10.803287), (0.0, 4.181716)),
    ("aimet-torch/percentile", "low high", (-3.760666, 3.762023), (-8.72099, 8.263222), (0.0, 3.7479823)),
    ("aimet-torch/minmax", "low high", (-4.5939903, 4.731958), (-13.38216, 10.90811), (0.0, 4.4063535)),
    ("ai-edge-quantizer/octav", "threshold", 3.9361298, 9.85812, 3.7547448),
    ("ai-edge-quantizer/mse", "threshold", 6.8764014, 9.6926155, 4.8393154),
    ("ai-edge-quantizer/minmax", "scale zero_point", (0.03725951, 0), (0.10537134, 0), (0.034695696, 0)),
    ("onnx-neural-compressor/entropy", "low high",
     (-4.5939903, 4.731958), (-13.38216, 10.90811), (0.0, 4.4063535)),
    ("onnx-neural-compressor/percentile", "low high",
     (-4.496284, 4.2652316), (-11.121307, 10.389469), (0.0, 4.161078)),
    ("onnx-neural-compressor/minmax", "low high",
     (-4.5939903, 4.731958), (-13.38216, 10.90811), (0.0, 4.4063535)),
    ("nncf/range_estimator", "low high", (-4.7692175, 4.731958), (-13.487532, 13.38216), (0.0, 4.4063535)),
    ("mct/histogram_search", "threshold", 3.9680657, 9.943982, 4.13064),
    ("amd-quark/onnx_minmse_pof2", "low high", (-3.96875, 3.96875), (-7.9375, 7.9375), (-3.96875, 3.96875)),
    ("caffe-int8-convert-tools/kl", "threshold", 4.4350553, 10.869738, 4.4031262),
]
# fmt: on


@pytest.mark.parametrize("name", list(DIGESTS))
@pytest.mark.parametrize(("key", "fields", "numbers"), [(row[0], row[1], row[2:]) for row in FACTS])
def test_a_tools_own_numbers(key: str, fields: str, numbers: tuple[Any, ...], name: str) -> None:
    reference = REFERENCES[key]
    expected = numbers[list(DIGESTS).index(name)]
    if expected is None:
        pytest.skip("the tool refuses this array")
    result = reference.function(array(name), **{**reference.parameters, **_SHAPES.get(key, {})})
    assert not result.error
    if fields == "inverse_scale":  # ncnn's table has 6 decimals
        assert result.threshold is not None
        assert f"{np.float32(127) / np.float32(result.threshold):f}" == f"{expected:f}"
        return
    values = expected if isinstance(expected, tuple) else (expected,)
    for field, wanted in zip(fields.split(), values, strict=True):
        found = np.float32(getattr(result, field))
        if reference.exact:
            assert found == np.float32(wanted), field
        else:
            assert found == pytest.approx(np.float32(wanted), rel=reference.tolerance), field


_SHAPES = {"ppq/isotone": {"shape": "2000x100"}}


def test_the_table_is_complete_and_readable() -> None:
    covered = {row[0] for row in FACTS}
    assert set(REFERENCES) - covered <= {"torch.ao/moving_average_minmax"}  # one batch: the same as minmax
    for key, reference in REFERENCES.items():
        assert key == f"{reference.tool}/{reference.algorithm}"
        assert reference.peculiar.endswith(".")
        assert reference.fidelity.endswith(".")
        assert reference.version
        assert reference.exact or reference.tolerance > 0, f"{key} states neither exactness nor a tolerance"
        known = set(inspect.signature(reference.function).parameters)
        choices = [dict(reference.parameters), *map(dict, reference.variants)]
        assert all(choices.count(choice) == 1 for choice in choices), f"{key} lists a variant twice"
        assert all(set(choice) <= known for choice in choices), key
        assert all(set(choice) == set(choices[0]) for choice in choices), f"{key}: a variant is not complete"
        module = inspect.getmodule(reference.function)
        assert module is not None
        assert module.__doc__
        assert len(module.__doc__) > 200, "the module says what is peculiar about the tool"


def _their_range(
    parts: list[Any], method: str, symmetric: bool, bins: int, levels: int, percentile: float
) -> tuple[float, float]:
    """What onnxruntime's own collector makes of the batches."""
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
    collector = calibrate.HistogramCollector(method, symmetric, bins, levels, percentile, "same")
    with contextlib.redirect_stdout(io.StringIO()):
        for part in parts:
            collector.collect({"x": part})
        low, high = collector.compute_collection_result()["x"][:2]
    return float(low), float(high)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("batches", [1, 3])
def test_entropy_is_what_the_installed_onnxruntime_computes(seed: int, batches: int) -> None:
    x = _mixture(seed)
    parts = np.array_split(x, batches)
    theirs = _their_range(parts, "entropy", False, 512, 128, 0.0)
    result = REFERENCES["onnxruntime/entropy"].function(
        parts if batches > 1 else x, num_bins=512, num_quantized_bins=128
    )
    assert (result.low, result.high) == theirs


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("symmetric", [True, False])
def test_percentile_is_what_the_installed_onnxruntime_computes(
    seed: int, batches: int, symmetric: bool
) -> None:
    x = _mixture(seed)
    parts = np.array_split(x, batches)
    theirs = _their_range(parts, "percentile", symmetric, 2048, 128, 99.9)
    result = REFERENCES["onnxruntime/percentile"].function(
        parts if batches > 1 else x, percentile=99.9, symmetric=symmetric
    )
    assert (result.low, result.high) == theirs


@pytest.mark.parametrize("value", [0.0, 2.5, -2.5])
def test_constants_are_what_the_installed_onnxruntime_computes(value: float) -> None:
    x = np.full(1000, value, dtype=np.float32)
    theirs = _their_range([x], "entropy", False, 2048, 128, 0.0)
    result = REFERENCES["onnxruntime/entropy"].function(x, num_bins=2048)
    assert (result.low, result.high) == theirs
    assert result.usable == (theirs[0] < theirs[1])


def _mixture(seed: int) -> Any:
    """Values with a heavy tail, an offset and a spike at zero."""
    rng = np.random.default_rng(100 + seed)
    x = rng.standard_t(3 + seed, 7_000) + seed * 0.3
    return np.where(rng.random(x.size) < 0.1 * seed, 0.0, x).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_in_compiled_loops_are_numpys(dtype: Any) -> None:
    rng = np.random.default_rng(5)
    for size in (1, 7, 8, 9, 127, 128, 129, 1000, 2049, 8001, 70_001):
        x = rng.standard_normal(size).astype(dtype)
        assert pairwise_sum(x) == x.sum()


ORDER_FREE = (
    "ncnn/kl",
    "MNN/kl",
    "MNN/max",
    "ppq/kl",
    "ppq/mse",
    "ppq/minmax",
    "Tengine/kl_s8",
    "Tengine/kl_u8",
    "caffe-int8-convert-tools/kl",
    "nvidia-modelopt/max",
    "torch.ao/minmax",
    "onnxruntime/minmax",
)


@pytest.mark.parametrize("key", ORDER_FREE)
def test_tools_that_count_in_a_second_pass_do_not_depend_on_batches(key: str) -> None:
    x = _mixture(1)
    function = REFERENCES[key].function
    parts = np.array_split(x, 4)
    assert function(parts) == function(parts[::-1]) == function(x) == function([x])


def test_shape_type_and_memory_order_do_not_matter() -> None:
    x = _mixture(2)[:6000]
    for key, reference in REFERENCES.items():
        if key == "ppq/isotone":  # reads rows
            continue
        plain = reference.function(x, **reference.parameters)
        assert reference.function(x.reshape(60, 100), **reference.parameters) == plain, key
        assert reference.function(x.astype(np.float64), **reference.parameters) == plain, key
        assert reference.function(x[::-1].copy()[::-1], **reference.parameters) == plain, key


def test_rows_come_by_key_with_defaults_first() -> None:
    x = _mixture(3)
    before = x.copy()
    rows = list(reference_thresholds(x, ("ppq/kl", "ncnn/aciq")))
    assert np.array_equal(x, before)
    kl = REFERENCES["ppq/kl"]
    assert [row.key for row in rows] == ["ppq/kl"] * (1 + len(kl.variants)) + ["ncnn/aciq"]
    assert rows[0].parameters == kl.parameters
    assert all(row.result.usable for row in rows)
