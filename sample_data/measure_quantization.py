"""Quantize the samples with ONNX Runtime's own tool and print the table of `README.md`."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from quantscope.core.runtime import open_session, session_options
from quantscope.sample_data import SAMPLES, Sample

CALIBRATORS = {
    "MinMax": (CalibrationMethod.MinMax, {}),
    "Percentile 99.99": (CalibrationMethod.Percentile, {"CalibPercentile": 99.99}),
    "Percentile 99.9": (CalibrationMethod.Percentile, {"CalibPercentile": 99.9}),
    "Entropy": (CalibrationMethod.Entropy, {}),
}


class Reader(CalibrationDataReader):
    """The calibration set, a few samples at a time."""

    def __init__(self, sample: Sample, batch: int = 32) -> None:
        with np.load(sample.calibration) as arrays:
            self.name = next(key for key in arrays if key != "labels")
            self.chunks = iter(np.split(arrays[self.name], range(batch, len(arrays["labels"]), batch)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        chunk = next(self.chunks, None)
        return None if chunk is None else {self.name: chunk}


def run(model: Path, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 10) of a model on the evaluation set, and the labels (n,)."""
    session = open_session(model, session_options())
    with np.load(sample.evaluation) as arrays:
        name = session.get_inputs()[0].name
        return session.run(None, {name: arrays[name]})[0], arrays["labels"]


def rows(sample: Sample, folder: Path) -> Iterator[tuple[str, float, float, float]]:
    """(settings, top-1, SQNR of the logits in dB, agreement with float) for each setting."""
    logits, labels = run(sample.model, sample)
    predicted = logits.argmax(axis=1)
    yield "float", float(np.mean(predicted == labels)), float("inf"), 1.0
    prepared, quantized = folder / "prepared.onnx", folder / "quantized.onnx"
    quant_pre_process(sample.model, prepared, skip_symbolic_shape=True)
    for per_channel in (False, True):
        for name, (method, options) in CALIBRATORS.items():
            # The histogram calibrators report on standard output, which belongs to the table.
            with contextlib.redirect_stdout(io.StringIO()):
                quantize_static(
                    prepared,
                    quantized,
                    Reader(sample),
                    per_channel=per_channel,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    calibrate_method=method,
                    extra_options=options,
                )
            result, _ = run(quantized, sample)
            noise = np.mean((logits - result) ** 2, dtype=np.float64)
            sqnr_db = 10 * np.log10(np.mean(logits**2, dtype=np.float64) / noise)
            answer = result.argmax(axis=1)
            weights = "per channel" if per_channel else "per tensor"
            yield (
                f"{weights}, {name}",
                float(np.mean(answer == labels)),
                float(sqnr_db),
                float(np.mean(answer == predicted)),
            )


def main() -> None:
    logging.disable(logging.WARNING)
    for sample in SAMPLES.values():
        print(f"\n| {sample.name}: weights, calibrator | top-1 | SQNR of the logits | agreement |")
        print("|---|---|---|---|")
        with tempfile.TemporaryDirectory() as folder:
            for settings, top_1, sqnr_db, agreement in rows(sample, Path(folder)):
                noise = "" if np.isinf(sqnr_db) else f"{sqnr_db:.1f} dB"
                print(f"| {settings} | {100 * top_1:.1f} % | {noise} | {100 * agreement:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
