"""Train the three sample networks on handwritten digits and write models, data and measured accuracies.

    pip install -e ".[samples]"
    python -m quantscope.sample_data.make_samples [--only digits_mlp] [--output FOLDER]

PyTorch and scikit-learn are needed here and nowhere else. One thread and fixed seeds: on one machine the
files come out the same every time; on another they may differ in the last bits, and so may the accuracies
stated in `sample_data/__init__.py`.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from quantscope.core.runtime import open_session, session_options
from quantscope.sample_data.channel_ranges import spread_channels
from quantscope.sample_data.digits_data import Scene, Sources, Split, render, split_sources
from quantscope.sample_data.digits_networks import CLASSES, DigitsMlp, DigitsMobileNet, DigitsVit
from quantscope.sample_data.graph_writer import GraphWriter

SEED = 2024
EVALUATION_SIZE = 1000
BATCH = 64
MOST_DIFFERENCE = 1e-3
"""Largest difference of logits allowed between PyTorch and ONNX Runtime."""

log = logging.getLogger("make_samples")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One sample: its network, its data, its training."""

    build: Callable[[], nn.Module]
    input_name: str
    scene: Scene
    flat: bool
    epochs: int
    learning_rate: float
    weight_decay: float
    description: str
    rescale: Callable[[nn.Module, Tensor], None] | None = None
    """Called on the trained network with training images; must not change the network's function."""


JOBS = {
    "digits_mlp": Job(
        build=DigitsMlp,
        input_name="pixels",
        scene=Scene(size=28),
        flat=True,
        epochs=300,
        learning_rate=2e-3,
        weight_decay=1e-4,
        description="784-100-100-10 perceptron for handwritten digits.",
    ),
    "digits_mobilenet": Job(
        build=DigitsMobileNet,
        input_name="image",
        scene=Scene(size=32, stuck_pixel_share=0.03),
        flat=False,
        epochs=50,
        learning_rate=4e-3,
        weight_decay=1e-4,
        description="Small MobileNetV2 for handwritten digits, with uneven channel ranges.",
        rescale=spread_channels,
    ),
    "digits_vit": Job(
        build=DigitsVit,
        input_name="image",
        scene=Scene(size=32, stuck_pixel_share=0.03),
        flat=False,
        epochs=110,
        learning_rate=2e-3,
        weight_decay=0.02,
        description="Tiny vision transformer for handwritten digits.",
    ),
}


def _inputs(sources: Sources, job: Job, generator: torch.Generator) -> Tensor:
    images = render(sources.images, job.scene, generator)
    return images.flatten(1) if job.flat else images


def train(network: nn.Module, sources: Sources, job: Job, generator: torch.Generator) -> None:
    """Train in place: AdamW with one learning-rate cycle, fresh augmentation every epoch."""
    batches = len(sources) // BATCH
    optimizer = torch.optim.AdamW(network.parameters(), lr=job.learning_rate, weight_decay=job.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=job.learning_rate, total_steps=batches * job.epochs
    )
    loss_of = nn.CrossEntropyLoss()
    network.train()
    for epoch in range(job.epochs):
        images = _inputs(sources, job, generator)
        order = torch.randperm(len(sources), generator=generator)
        total = 0.0
        for step in range(batches):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            optimizer.zero_grad()
            loss = loss_of(network(images[chosen]), sources.labels[chosen])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if epoch % 10 == 9:
            log.info("  epoch %d: training loss %.4f", epoch + 1, total / batches)
    network.eval()


def run(model: Path, data: Path) -> np.ndarray:
    """Logits (n, 10) of an ONNX file on an evaluation file, run by ONNX Runtime."""
    session = open_session(model, session_options())
    name = session.get_inputs()[0].name
    with np.load(data) as arrays:
        return session.run(None, {name: arrays[name]})[0]


def _save(path: Path, name: str, inputs: Tensor, labels: Tensor) -> None:
    np.savez_compressed(path, **{name: inputs.numpy(), "labels": labels.numpy()})


def make(name: str, split: Split, folder: Path) -> float:
    """Train one sample, write its three files into the folder, and return its float accuracy."""
    job = JOBS[name]
    torch.manual_seed(SEED)
    network = job.build()
    start = time.perf_counter()
    train(network, split.training, job, torch.Generator().manual_seed(SEED + 1))
    log.info("  trained in %.0f s", time.perf_counter() - start)

    generator = torch.Generator().manual_seed(SEED + 2)
    copies = EVALUATION_SIZE // len(split.evaluation)
    calibration = _inputs(split.calibration, job, generator)
    evaluation = torch.cat([_inputs(split.evaluation, job, generator) for _ in range(copies)])
    labels = split.evaluation.labels.repeat(copies)
    with torch.no_grad():
        trained = network(evaluation)
        if job.rescale:
            job.rescale(network, _inputs(split.training, job, generator))
    writer = GraphWriter(name, job.input_name, tuple(calibration.shape[1:]))
    output = network.write(writer)
    writer.save(folder / f"{name}.onnx", output, (CLASSES,), job.description)
    _save(folder / f"{name}_calib.npz", job.input_name, calibration, split.calibration.labels)
    _save(folder / f"{name}_eval.npz", job.input_name, evaluation, labels)

    logits = run(folder / f"{name}.onnx", folder / f"{name}_eval.npz")
    difference = float(np.abs(logits - trained.numpy()).max())
    if difference > MOST_DIFFERENCE:
        raise RuntimeError(f"{name}: the ONNX file differs from the trained network by {difference:g}")
    measured = float(np.mean(logits.argmax(axis=1) == labels.numpy()))
    log.info("  float accuracy %.4f, largest difference from PyTorch %.1e", measured, difference)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(JOBS), help="make one sample only")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    split = split_sources(SEED)
    for name in [arguments.only] if arguments.only else JOBS:
        log.info("%s", name)
        make(name, split, arguments.output)


if __name__ == "__main__":
    main()
