"""What leaves the app: the verified file, the layer table, the command line, and what stays float."""

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from quantscope.core.data.sources import DEFAULT_COUNT, preprocessing
from quantscope.core.evaluate import SizeBreakdown, size_breakdown, stored_quantizers
from quantscope.core.export import ONNX_QDQ
from quantscope.core.model import Layer, Model, load_model
from quantscope.core.passes import PassRecord
from quantscope.core.progress import ProgressFn, report
from quantscope.core.project import Project, Source
from quantscope.core.quantize import Encodings
from quantscope.core.recipe import PASSES, Recipe
from quantscope.core.runtime import Session
from quantscope.core.targets import Precision, target
from quantscope.sample_data import SAMPLES
from quantscope.ui.content import text
from quantscope.ui.content.rows import Row
from quantscope.ui.content.shells import POSIX, Shell
from quantscope.ui.content.snippet import Feed, feeds_of
from quantscope.ui.content.stored_rows import stored_json
from quantscope.ui.content.text import csv_cell
from quantscope.ui.runs.measurement_work import ModelUnderTest, quantized_bytes, reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The exported bytes, and whether running them gives what the preview gave."""

    data: bytes
    sha256: str
    identical: bool
    difference: float  # largest absolute difference of any output
    samples: int
    runtime: str  # version of ONNX Runtime
    parts: SizeBreakdown  # of the bytes
    inputs: tuple[Feed, ...]  # what a run takes


def verify(tested: ModelUnderTest, progress: ProgressFn) -> Verified:
    """Quantize twice: once as the preview does, once as a file that is loaded again; compare all outputs."""
    floats = reference(tested, progress)
    data = quantized_bytes(tested.model, tested.encodings)
    previewed = Session(quantized_bytes(tested.model, tested.encodings), what="the preview")
    loaded = Session(bytes(data), what="the exported file")
    largest, same = 0.0, True
    for done, sample in enumerate(floats.inputs, 1):
        ours, theirs = previewed.run(sample), loaded.run(sample)
        for name, value in ours.items():
            other = theirs[name]
            same = (
                same
                and value.dtype == other.dtype
                and np.array_equal(value, other, equal_nan=value.dtype.kind == "f")
            )
            if value.dtype.kind == "f" and value.size:
                largest = max(largest, float(np.nanmax(np.abs(value - other), initial=0.0)))
        report(progress, done, len(floats.inputs), "comparing")
    return Verified(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        identical=same,
        difference=largest,
        samples=len(floats.inputs),
        runtime=str(ort.__version__),
        parts=size_breakdown(data),
        inputs=feeds_of(floats.inputs[0]),
    )


def stem(name: str) -> str:
    """A model's name as the start of file names."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).stem).strip("._-") or "model"


def file_name(stem: str, recipe: Recipe) -> str:
    """The exported model's file name; those for other targets are told apart."""
    other = recipe.target.removeprefix("onnxruntime-").replace("-", "_")
    return f"{stem}_int8{ONNX_QDQ.suffix}" if other == "cpu" else f"{stem}_int8_{other}{ONNX_QDQ.suffix}"


def target_label(recipe: Recipe) -> str:
    """The target's name for people."""
    return target(recipe.target).label


def table_csv(rows: Sequence[Row]) -> str:
    """The layer table; SQNR in dB, clipped as a share.

    Names are never formulas of a spreadsheet (`csv_cell`).
    """
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    fields = [name for name in Row.__slots__ if name != "own"]
    writer.writerow(fields)
    for row in rows:
        writer.writerow([csv_cell(getattr(row, name)) for name in fields])
    return sheet.getvalue()


def command_words(project: Project, recipe: Recipe, name: str) -> list[list[str]]:
    """The command that makes the same file from the downloaded recipe: an option and its value a group.

    It names all that the file depends on: the model, the samples and how they are read; the recipe holds the
    rest. Labels change nothing of it, and the command line refuses those that do not fit. Paths are absolute,
    except those of the recipe and of the file to write.
    """
    groups = [["quantscope", "quantize", _path(project, project.model, part="model")]]
    groups += _samples(project, project.data)
    return [*groups, ["--recipe", recipe_name(name)], ["-o", file_name(name, recipe)]]


def _samples(project: Project, data: Source) -> list[list[str]]:
    """The options that name samples, without their labels."""
    options = data.options
    if data.kind == "random":
        return [
            ["--random", str(options.get("limit") or DEFAULT_COUNT)],
            ["--seed", str(options.get("seed", 0))],
        ]
    part = "evaluation" if options.get("part") == "evaluation" else "calibration"
    groups = [["--data", _path(project, data, part=part)]]
    if options.get("limit"):
        groups.append(["--limit", str(options["limit"])])
    if options.get("preprocessing"):
        groups.append(["--preprocess", preprocessing(options["preprocessing"]).to_text()])
    return groups


def judging_command(project: Project, recipe: Recipe, name: str, shell: Shell = POSIX) -> str:
    """The command that measures the written file on the evaluation data; nothing where there are none."""
    data = project.evaluation
    if data is None:
        return ""
    groups = [["quantscope", "compare", _path(project, project.model, part="model"), file_name(name, recipe)]]
    groups += _samples(project, data)
    if data.options.get("labels"):
        groups.append(["--labels", str(data.options["labels"])])
    return shell.command(groups)


def command(project: Project, recipe: Recipe, name: str, shell: Shell = POSIX) -> str:
    """The command of `command_words`, quoted for a shell."""
    return shell.command(command_words(project, recipe, name))


def recipe_name(stem: str) -> str:
    """The recipe's file name."""
    return f"{stem}_recipe.yaml"


def _path(project: Project, source: Source, *, part: str) -> str:
    """Where a source lies on this machine; uploads lie in the project's folder."""
    if source.kind == "sample" and source.path in SAMPLES:
        return str(getattr(SAMPLES[source.path], part))
    if source.kind == "stored":
        return str((project.folder / source.path).absolute())
    return source.path


def stays_float(model: Model, recipe: Recipe, encodings: Encodings) -> list[tuple[str, str]]:
    """Layers that compute in float, each with the reason."""
    return [
        (layer.name, f"{subject}: {why}" if subject else why)
        for layer, subject, why in _in_float(model, recipe, encodings)
    ]


_OWN_VALUE = re.compile(r"^values at \S+(?= are )")  # of one tensor: the reason is the same for many


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatGroup:
    """Layers that stay float for the same reason."""

    why: str
    operators: tuple[tuple[str, int], ...]  # with their counts, the most frequent first
    names: tuple[str, ...]  # of the layers, in the order of execution


def float_groups(model: Model, recipe: Recipe, encodings: Encodings) -> list[FloatGroup]:
    """Layers that compute in float by reason, the most frequent reason first."""
    by_reason: dict[str, list[Layer]] = {}
    exact: dict[str, set[str]] = {}
    for layer, _, why in _in_float(model, recipe, encodings):
        alike = _OWN_VALUE.sub("a few values", why)
        by_reason.setdefault(alike, []).append(layer)
        exact.setdefault(alike, set()).add(why)
    groups = [
        FloatGroup(
            why=text.typeset(next(iter(exact[why])) if len(exact[why]) == 1 else why),
            operators=tuple(Counter(layer.op for layer in layers).most_common()),
            names=tuple(layer.name for layer in layers),
        )
        for why, layers in by_reason.items()
    ]
    return sorted(groups, key=lambda group: -len(group.names))


def _in_float(model: Model, recipe: Recipe, encodings: Encodings) -> Iterator[tuple[Layer, str, str]]:
    """Layers that compute in float: the tensor that is to blame, if it is one, and the reason."""
    placement = encodings.placement
    for layer in model.layers:
        if layer.kind != "compute" or placement.nodes.intersection(layer.nodes):
            continue
        touched = (*layer.inputs, layer.weight or "", layer.output)
        kept = next((tensor for tensor in touched if tensor in encodings.kept_float), "")
        if recipe.choice(layer.name).precision is Precision.FLOAT:
            yield layer, "", "set to float in the recipe"
        elif kept:
            yield layer, kept, encodings.kept_float[kept]
        elif layer.op not in placement.target.roles:
            yield layer, "", f"{placement.target.label} has no integer kernel for {layer.op}"
        elif any(t in model.tensors and t not in placement.tensors for t in layer.inputs):
            yield layer, "", "what it reads stays float"
        else:
            yield layer, "", f"its {layer.op} reads no stored weight, or values that are no floats"


def changes(model: Model, recipe: Recipe, records: Sequence[PassRecord]) -> list[str]:
    """What was changed before quantizing, in sentences: in the graph when it was loaded, and by model fixes.

    Args:
        model: The float model.
        recipe: Names the model fixes.
        records: What these did, as far as that is known.
    """
    known = {record.choice.name: record.sentences for record in records}
    fixes = [
        f"{PASSES[choice.name].label}: {sentence}"
        for choice in recipe.passes
        for sentence in known.get(choice.name, ("in use; what it did is being found out.",))
    ]
    return [*model.notes, *fixes]


def encodings_json(data: bytes) -> str:
    """Every scale and zero point of an exported file, for other runtimes."""
    return stored_json(stored_quantizers(load_model(data, allow_quantized=True)).quantizers)
