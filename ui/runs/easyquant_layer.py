"""EasyQuant for one layer in the background, and layers' outputs against the ranges of what they read."""

from dataclasses import dataclass

from quantscope.core.errors import DataError
from quantscope.core.evaluate import OutputCurve, layer_output_curve, tensor_output_curve
from quantscope.core.progress import Progress, ProgressFn
from quantscope.core.quant import Range
from quantscope.core.tuning import EasyQuantResult, easyquant
from quantscope.ui.runs.easyquant_model import BeforeAndAfter, before_and_after, split_for
from quantscope.ui.session import cached
from quantscope.ui.session.jobs import Job, JobId
from quantscope.ui.session.state import Session, recipe_token

RANGES = 60  # of a curve
JUDGES = 256  # samples that the network is measured on, before and after one layer


@dataclass(frozen=True, slots=True, kw_only=True)
class EasyRun:
    """What was found for a layer, with the recipe that it was found for."""

    token: str
    tuned: EasyQuantResult
    read: OutputCurve | None  # the layer's output against the range of the tensor that it reads
    made: OutputCurve | None  # outputs of those who read the layer's own tensor, against its range
    figures: BeforeAndAfter | None  # of the network, before and after; None where nothing changes


def easy_job(now: Session, layer: str) -> Job[EasyRun] | None:
    """The layer's job, if it was started."""
    return cached.registry().get(_id(now, layer))


def start_easy(now: Session, layer: str) -> None:
    """Tune the layer, and compute both curves."""
    space, id = now.workspace, _id(now, layer)
    samples = space.samples
    if samples is None:
        return
    model, encodings, recipe = space.model, now.encodings, now.recipe
    token = recipe_token(recipe)

    def work(tell: ProgressFn) -> EasyRun:
        def curve_progress(progress: Progress) -> None:
            tell(Progress(done=progress.done, total=progress.total, label="outputs against ranges"))

        split = split_for(space)
        fitting = samples if split is None else split.fitting
        tuned = easyquant(model, recipe, encodings, fitting, layers=[layer], progress=tell)
        read = made = judged = None
        if split is not None and tuned.apply(recipe) != recipe:
            judged = before_and_after(now, recipe, tuned.apply(recipe), split, tell, most=JUDGES)
        if tuned.layers:
            ranges = _ranges(now, tuned.layers[0].tensor)
            read = layer_output_curve(model, encodings, layer, samples, ranges, progress=curve_progress)
        tensor = model.layer(layer).output
        root = encodings.placement.sources.get(tensor, tensor)
        if root in encodings.activations:
            try:
                made = tensor_output_curve(
                    model, encodings, root, samples, _ranges(now, root), progress=curve_progress
                )
            except DataError:
                made = None  # nobody with weights reads it
        return EasyRun(token=token, tuned=tuned, read=read, made=made, figures=judged)

    cached.registry().restart(id, "EasyQuant", work)


def _ranges(now: Session, tensor: str) -> list[Range]:
    """The range of all values, scaled from a twentieth to all of it."""
    h = now.workspace.statistics.histograms[now.encodings.placement.sources.get(tensor, tensor)]
    low, high = min(h.min, 0.0), max(h.max, 0.0)
    if low == high:
        return [Range(low, high)]
    return [Range(low * share, high * share) for share in ((i + 3) / (RANGES + 2) for i in range(RANGES))]


def _id(now: Session, layer: str) -> JobId[EasyRun]:
    return JobId(f"{now.project.id}:easyquant:{layer}")


def kept_range(now: Session, tensor: str) -> Range:
    """What the tensor's scale and zero point can express now."""
    encoding = now.encodings.activations[tensor]
    return Range(float(encoding.low), float(encoding.high))
