"""What this machine is: how its integer kernels add products, found by a probe, and facts about it."""

import contextlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import psutil
from llvmlite import binding
from onnx import TensorProto, helper, numpy_helper

from quantscope.core.runtime.sessions import open_session, session_options

# ONNX Runtime releases, as (major, minor), in which the order of products was found to be as in
# `quantize.saturation` on a processor that saturates.
VERIFIED = ((1, 31), (1, 32))
_ACTIVATION, _WEIGHT = 255, 127  # two products of these leave 16 bits
# Instruction sets that decide how integers are multiplied, by the names that LLVM gives them.
_SETS = {
    "sse4.1": "SSE4.1",
    "avx": "AVX",
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512vnni": "AVX-512 VNNI",
    "avxvnni": "AVX-VNNI",
    "avxvnniint8": "AVX-VNNI-INT8",
    "amx-int8": "AMX-INT8",
    "neon": "NEON",
    "dotprod": "dot product",
    "i8mm": "I8MM",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerSums:
    """How ONNX Runtime adds u8 x s8 products on this processor."""

    saturates: bool  # a default session cuts sums of two products off at 16 bits
    exact: bool  # a session with the option for exact sums does not
    neighbours: (
        bool  # where it saturates: it adds the products that `quantize.saturation` says, and no others
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Facts for a report; sizes in bytes."""

    system: str
    processor: str
    instruction_sets: tuple[str, ...]
    cores: int  # that this process may use
    memory: int
    available: int
    python: str
    packages: Mapping[str, str]  # name → version
    sums: IntegerSums


@lru_cache(maxsize=1)
def integer_sums() -> IntegerSums:
    """Find out by running a few tiny kernels; milliseconds, once a process."""
    cases = (
        _product(8),
        _convolution(2, (2, 2)),
        _convolution(3, (1, 1)),
        _convolution(1, (2, 2), depthwise=True),
    )
    wrong = [case.wrong(exact=False) for case in cases]
    return IntegerSums(
        saturates=any(found.any() for found in wrong),
        exact=not any(case.wrong(exact=True).any() for case in cases),
        neighbours=all(
            np.array_equal(found, case.expected) for case, found in zip(cases, wrong, strict=True)
        ),
    )


def pairs_are_neighbours() -> bool:
    """Whether the order of products in `quantize.saturation` can be relied on.

    On a processor that saturates the probe decides; elsewhere it cannot tell, and the release of ONNX
    Runtime has to be one of those that were probed.
    """
    sums = integer_sums()
    return sums.neighbours if sums.saturates else _release() in VERIFIED


def _release() -> tuple[int, ...]:
    return tuple(int(part) for part in ort.__version__.split(".")[:2])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """A kernel with one output for each pair of weights: two are large, the others 0."""

    node: onnx.NodeProto
    x: npt.NDArray[np.uint8]
    constants: Mapping[str, npt.NDArray[Any] | np.generic]
    output: int  # ONNX type
    right: int  # value of every output
    expected: npt.NDArray[np.bool_]  # outputs that are wrong where `quantize.saturation` is right

    def wrong(self, *, exact: bool) -> npt.NDArray[np.bool_]:
        """For each pair whether the kernel gives a wrong sum."""
        y = _run_node(self.node, self.x, self.constants, self.output, exact)
        return np.asarray(y.reshape(-1) != self.right)


def _pairs(inner: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    """Weights (pairs, inner), and which pairs are neighbours."""
    pairs = list(combinations(range(inner), 2))
    rows = np.zeros((len(pairs), inner), np.int8)
    for row, pair in enumerate(pairs):
        rows[row, list(pair)] = _WEIGHT
    return rows, np.array([a % 2 == 0 and b == a + 1 for a, b in pairs])


def _product(inner: int) -> _Probe:
    """A matrix product."""
    rows, expected = _pairs(inner)
    return _Probe(
        node=helper.make_node("MatMulInteger", ["x", "w"], ["y"]),
        x=np.full((1, inner), _ACTIVATION, np.uint8),
        constants={"w": rows.T},
        output=TensorProto.INT32,
        right=2 * _ACTIVATION * _WEIGHT,
        expected=expected,
    )


def _convolution(channels: int, kernel: tuple[int, int], *, depthwise: bool = False) -> _Probe:
    """A convolution, whose weights are read with the channel fastest; depthwise ones are always right."""
    rows, expected = _pairs(channels * kernel[0] * kernel[1])
    groups = len(rows) if depthwise else 1
    inputs = ["x", "one", "zero", "w", "ones", "zeros", "step", "zero"]
    return _Probe(
        node=helper.make_node("QLinearConv", inputs, ["y"], group=groups),
        x=np.full((1, channels * groups, *kernel), _ACTIVATION, np.uint8),
        constants={
            "one": np.float32(1.0),
            "zero": np.uint8(0),
            "w": np.moveaxis(rows.reshape(-1, *kernel, channels), -1, 1),
            "ones": np.ones(len(rows), np.float32),
            "zeros": np.zeros(len(rows), np.int8),
            "step": np.float32(2 * _WEIGHT),
        },
        output=TensorProto.UINT8,
        right=_ACTIVATION,
        expected=expected & (not depthwise),
    )


def _run_node(
    node: onnx.NodeProto,
    x: npt.NDArray[np.uint8],
    constants: Mapping[str, npt.NDArray[Any] | np.generic],
    output: int,
    exact: bool,
) -> npt.NDArray[Any]:
    stored = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(
        [node],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x.shape)],
        [helper.make_tensor_value_info("y", output, None)],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = open_session(model.SerializeToString(), session_options(exact=exact))
    return np.asarray(session.run(["y"], {"x": x})[0])


@lru_cache(maxsize=1)
def kernels() -> str:
    """What decides which kernels ONNX Runtime takes, and with them the last bits of its results."""
    features = binding.get_host_cpu_features()
    have = sorted(name for name, there in features.items() if there)
    return " ".join([ort.__version__, platform.machine(), binding.get_host_cpu_name(), *have])


def describe_machine() -> Machine:
    """All that a report about a problem should say of the machine."""
    memory = psutil.virtual_memory()
    return Machine(
        system=platform.platform(),
        processor=f"{platform.machine()} ({binding.get_host_cpu_name()})",
        instruction_sets=_instruction_sets(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=memory.total,
        available=memory.available,
        python=platform.python_version(),
        packages=_versions(),
        sums=integer_sums(),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in ("quantscope", "onnxruntime", "onnx", "onnx_ir", "numpy", "numba", "streamlit"):
        with contextlib.suppress(PackageNotFoundError):  # run from its source, or without a front end
            found[name] = version(name)
    return found


def _instruction_sets() -> tuple[str, ...]:
    """Those that matter here and that the processor has."""
    have = binding.get_host_cpu_features()
    return tuple(label for name, label in _SETS.items() if have.get(name))
