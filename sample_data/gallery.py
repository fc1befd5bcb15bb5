"""Write what `docs/gallery.md` works on: a detector's head, masked attention, and copies of the samples.

The two models have random weights from a fixed seed, so every machine writes the same networks. What matters
is the size of their values, which is that of trained networks of their kind.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

from quantscope.sample_data import SAMPLES
from quantscope.sample_data.graph_writer import GraphWriter

PIXELS = 160.0  # boxes reach a few hundred pixels, scores reach 1
TOKENS, WIDTH = 16, 32
CALIBRATION, EVALUATION = 64, 256


def detector(folder: Path) -> None:
    """Boxes in pixels and scores of 0 to 1, joined in one output (N, 7, 64)."""
    random = np.random.default_rng(1)
    g = GraphWriter("detector", "image", (3, 8, 8))
    g.constant("stem.weight", random.normal(0.0, 0.35, (8, 3, 3, 3)))
    g.constant("boxes.weight", random.normal(0.0, 0.4, (4, 8, 1, 1)))
    g.constant("boxes.bias", np.full(4, 2.0))
    g.constant("boxes.pixels", PIXELS)
    g.constant("scores.weight", random.normal(0.0, 0.6, (3, 8, 1, 1)))
    g.constant("scores.bias", np.full(3, -1.0))
    g.constant("rows", [-1, 7, 64], np.int64)
    stem = g.node("Relu", "stem.relu", g.node("Conv", "stem", "image", "stem.weight", pads=[1, 1, 1, 1]))
    boxes = g.node(
        "Mul", "boxes.scaled", g.node("Conv", "boxes", stem, "boxes.weight", "boxes.bias"), "boxes.pixels"
    )
    scores = g.node(
        "Sigmoid", "scores.sigmoid", g.node("Conv", "scores", stem, "scores.weight", "scores.bias")
    )
    joined = g.node("Concat", "joined", boxes, scores, axis=1)
    g.node("Reshape", "rows_of_all", joined, "rows", output="detections")
    g.save(folder / "detector.onnx", "detections", (7, 64), "Boxes and scores in one tensor.")
    for name, count in (("calib", CALIBRATION), ("eval", EVALUATION)):
        np.savez(
            folder / f"detector_{name}.npz", image=random.normal(size=(count, 3, 8, 8)).astype(np.float32)
        )


def attention(folder: Path) -> None:
    """One causal self-attention layer that hides the future by adding -1e9, and a classifier behind it."""
    random = np.random.default_rng(2)
    g = GraphWriter("attention", "tokens", (TOKENS, WIDTH))
    for part in ("query", "key", "value"):
        g.constant(f"{part}.weight", random.normal(0.0, 1.6 / np.sqrt(WIDTH), (WIDTH, WIDTH)))
        g.node("MatMul", part, "tokens", f"{part}.weight")
    g.constant("temperature", 1.0 / np.sqrt(WIDTH))
    g.constant("mask", np.where(np.triu(np.ones((TOKENS, TOKENS), bool), 1), -1e9, 0.0))
    g.constant("classes.weight", random.normal(0.0, 1.0 / np.sqrt(WIDTH), (WIDTH, 10)))
    turned = g.node("Transpose", "key.turned", "key.out", perm=[0, 2, 1])
    scores = g.node("Mul", "scaled", g.node("MatMul", "scores", "query.out", turned), "temperature")
    weights = g.node("Softmax", "softmax", g.node("Add", "masked", scores, "mask"), axis=-1)
    mixed = g.node("MatMul", "mixed", weights, "value.out")
    g.node("MatMul", "classes", mixed, "classes.weight", output="logits")
    g.save(folder / "attention.onnx", "logits", (TOKENS, 10), "Causal self-attention with an additive mask.")
    for name, count in (("calib", CALIBRATION), ("eval", EVALUATION)):
        tokens = random.normal(size=(count, TOKENS, WIDTH)).astype(np.float32)
        np.savez(folder / f"attention_{name}.npz", tokens=tokens)
    # What Softmax reads: scores of a few units, and the mask beside them.
    seen = random.normal(0.0, 2.5, (32, TOKENS, TOKENS))
    np.save(
        folder / "masked_scores.npy",
        np.where(np.triu(np.ones((TOKENS, TOKENS), bool), 1), -1e9, seen).astype(np.float32),
    )


def write(folder: Path) -> None:
    """Both models with their data, and the bundled samples."""
    detector(folder)
    attention(folder)
    for sample in SAMPLES.values():
        for file in (sample.model, sample.calibration, sample.evaluation):
            shutil.copyfile(file, folder / file.name)


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
