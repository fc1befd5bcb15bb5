"""ONNX Runtime sessions for tests, made apart from the product's own, with exact integers as these are."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime as ort

Source = onnx.ModelProto | bytes | str | Path


def options(*, plain: bool = False, exact: bool = True, threads: int = 1) -> ort.SessionOptions:
    """Session options without messages.

    `plain` turns every graph optimization off; `exact` False leaves u8 x s8 products as this processor adds
    them by default, which on x86 without VNNI is with saturation at 16 bits. One thread, as in the product:
    models of tests are small, and threads that wait for work take processors from what runs beside.
    """
    found = ort.SessionOptions()
    found.log_severity_level = 4
    found.intra_op_num_threads = threads
    if plain:
        found.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if exact:
        found.add_session_config_entry("session.x64quantprecision", "1")
    return found


def session(source: Source, settings: ort.SessionOptions | None = None) -> ort.InferenceSession:
    """A session on the CPU, with `options()` unless others are given."""
    model = source.SerializeToString() if isinstance(source, onnx.ModelProto) else source
    return ort.InferenceSession(model, settings or options(), providers=["CPUExecutionProvider"])
