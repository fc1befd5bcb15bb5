"""Figures of steps: written into the project whenever they are measured, read for any step without measuring.

They are kept by the content of a step's recipe, so that a step that is shown again, or made anew, has them at
once, and by the model and data that they are of: where these change, there are none.
"""

import hashlib
import logging
from dataclasses import dataclass, replace

from quantscope.core.data import Samples
from quantscope.core.errors import ProjectError
from quantscope.core.evaluate import Accuracy, Comparison, OutputComparison, Preview
from quantscope.core.memo import Recent
from quantscope.core.project import (
    Figures,
    Project,
    Scope,
    figures_content,
    figures_file,
    read_figures,
    write_file,
)
from quantscope.core.project import project as projects
from quantscope.core.recipe import Recipe, recipe_from_yaml
from quantscope.ui.session import cached, state
from quantscope.ui.session.state import Session
from quantscope.ui.session.workspace import PREVIEW_SAMPLES, Workspace

log = logging.getLogger("quantscope")
RECIPES = 64  # of steps that stay in memory
KEPT = 4096  # steps and files whose digests or figures stay in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFigures:
    """What is known of one step or file; None = not measured."""

    preview: Figures | None = None  # over the few samples of the edit loop
    whole: Figures | None = None  # over the samples that quality is judged on; with size and time


def of_step(project: Project, number: int) -> StepFigures | None:
    """Figures of a step of the recipe; nothing is measured. None where nothing is known.

    That is also so while the project is being made ready, since what its data are is not known then.
    """
    try:
        return of_digest(project, digest_of_step(project, number))
    except ProjectError:  # there is no such step, or its file is damaged
        return None


def of_digest(project: Project, digest: str) -> StepFigures | None:
    """As `of_step`, by the digest of a recipe or a file."""
    space = _workspace(project)
    if space is None:
        return None
    found = StepFigures(
        preview=_read(project, digest, Scope.PREVIEW, space), whole=_read(project, digest, Scope.WHOLE, space)
    )
    return found if found != StepFigures() else None


def shown(now: Session) -> StepFigures | None:
    """Figures of the shown step."""
    return of_step(now.project, now.project.head)


def before(now: Session) -> StepFigures | None:
    """Figures of the step that the shown one was made from; None where there is none."""
    project = now.project
    return of_step(project, project.parents[project.head]) if project.can_undo else None


def digest_of_step(project: Project, number: int) -> str:
    """Digest of a step's recipe, in hex.

    Raises:
        ProjectError: There is no such step, or its file is damaged.
    """
    known = cached.results_of_project(project.id, _Digests, project.identity)
    return known.get_or_make(
        number, lambda: hashlib.sha256(projects.read_step(project, number).recipe.encode()).hexdigest()
    )


def recipe_of_step(project: Project, number: int) -> Recipe:
    """A step's recipe, as it was written.

    Raises:
        QuantScopeError: There is no such step, or it is damaged.
    """
    known = cached.results_of_project(project.id, _Recipes, project.identity)
    return known.get_or_make(number, lambda: recipe_from_yaml(projects.read_step(project, number).recipe))


def keep_preview(now: Session, found: Preview) -> None:
    """Keep figures of the shown step over the few samples of the edit loop; for background work."""
    _keep_of_step(now, Scope.PREVIEW, preview_figures(now.opened, found))


def keep_whole(now: Session, found: Comparison) -> None:
    """Keep figures of the shown step over the judged samples; for background work."""
    _keep_of_step(now, Scope.WHOLE, whole_figures(now.opened, found))


def keep_whole_of(now: Session, digest: str, found: Comparison) -> None:
    """As `keep_whole`, of the recipe with that digest, which need not be a step yet; for background work."""
    keep(now.project, now.opened, digest, Scope.WHOLE, whole_figures(now.opened, found))


def _keep_of_step(now: Session, scope: Scope, figures: Figures) -> None:
    if now.held:  # a line in a drag, whose recipe is no step
        return
    try:
        digest = digest_of_step(now.project, now.project.head)
    except ProjectError:  # undone and damaged meanwhile, or removed
        return
    keep(now.project, now.opened, digest, scope, figures)


def keep(project: Project, space: Workspace, digest: str, scope: Scope, figures: Figures) -> None:
    """Write figures into the project; where that fails, they are shown all the same, and the log says it."""
    try:
        write_file(
            project, figures_file(digest, scope), figures_content(figures, subject(project, space, scope))
        )
    except ProjectError as error:
        log.warning("figures were not kept: %s", error)


def preview_figures(space: Workspace, found: Preview) -> Figures:
    """Figures of a preview, as they are kept."""
    return _of_outputs(space, found.output, samples=found.samples, size=found.size_bytes)


def whole_figures(space: Workspace, found: Comparison) -> Figures:
    """Figures of a comparison, as they are kept."""
    time = found.latency
    figures = Figures(
        samples=found.samples,
        evaluation=space.evaluation is not None,
        sqnr_db=found.output.sqnr_db,
        cosine=found.output.cosine,
        size_bytes=found.quantized_bytes,
        float_bytes=found.float_bytes,
        latency_ms=time.quantized_ms if time is not None else None,
        float_latency_ms=time.float_ms if time is not None else None,
    )
    return _with_answers(figures, found.accuracy)


def _of_outputs(space: Workspace, found: OutputComparison, *, samples: int, size: int) -> Figures:
    figures = Figures(
        samples=samples,
        evaluation=space.evaluation is not None,
        sqnr_db=found.overall.sqnr_db,
        cosine=found.overall.cosine,
        size_bytes=size,
        float_bytes=space.model.size_bytes,
    )
    return _with_answers(figures, found.accuracy)


def _with_answers(figures: Figures, found: Accuracy | None) -> Figures:
    """Figures with those of the answers, where any output is class scores."""
    if found is None:
        return figures
    return replace(
        figures,
        agreement=found.agreement,
        top1=found.quantized_top1,
        float_top1=found.float_top1,
        miou=found.quantized_miou,
        float_miou=found.float_miou,
        rows=found.rows,
        positions=found.positions,
    )


def _workspace(project: Project) -> Workspace | None:
    """The project's model and data, if they are in memory; nothing is started."""
    job = cached.registry().get(state.opening_id(project.id))
    return job.result if job is not None else None


class _Digests(Recent[str]):
    """Digests of steps' recipes, by number."""

    def __init__(self) -> None:
        super().__init__(KEPT)


class _Recipes(Recent[Recipe]):
    """Recipes of steps, by number: they never change, and long ones take long to read."""

    def __init__(self) -> None:
        super().__init__(RECIPES)


class _Read(Recent[tuple[int, str, Figures | None]]):
    """Figures as they were read: when the file was written, of which model and data, and what it says."""

    def __init__(self) -> None:
        super().__init__(KEPT)


def _read(project: Project, digest: str, scope: Scope, space: Workspace) -> Figures | None:
    """Figures of a file, which is read again only where it has changed."""
    path = project.folder / figures_file(digest, scope)
    try:
        written = path.stat().st_mtime_ns
    except OSError:
        return None
    of = subject(project, space, scope)
    known = cached.results_of_project(project.id, _Read, project.identity)
    last = known.get((digest, scope))
    if last is None or last[:2] != (written, of):
        last = (written, of, read_figures(path, of))
        known.put((digest, scope), last)
    return last[2]


# --- which model and data ---


class _Subjects(Recent[tuple[Workspace, str]]):
    """What stands for model and data, by scope; with the workspace that it is of."""

    def __init__(self) -> None:
        super().__init__(len(Scope))


def subject(project: Project, space: Workspace, scope: Scope) -> str:
    """Stands for the model, what it was calibrated on, and the samples that figures are over.

    Of the samples, the first ones are read, and of the others their number and labels; the file's size and
    time tell whether it was written anew.
    """
    known = cached.of_project(project.id, _Subjects)
    last = known.get(scope)
    if last is None or last[0] is not space:
        last = (space, _subject_anew(project, space, scope))
        known.put(scope, last)
    return last[1]


def _subject_anew(project: Project, space: Workspace, scope: Scope) -> str:
    statistics = space.statistics
    total = hashlib.sha256(
        f"{space.model.hash}|{statistics.model_hash}|{statistics.data_fingerprint}|{statistics.samples}".encode()
    )
    judged = space.judged
    if judged is not None:
        few = judged.take(PREVIEW_SAMPLES)
        total.update(b"".join(few.digests()))
        of: Samples = few if scope is Scope.PREVIEW else judged
        total.update(f"|{of.batch}|{of.rows}|{_written(project, space)}|".encode())
        if of.labels is not None:
            total.update(of.labels.tobytes())
    return total.hexdigest()[:32]


def _written(project: Project, space: Workspace) -> str:
    """When the judged data were written, and how large they are, where they lie in one file."""
    source = project.evaluation if space.evaluation is not None else project.data
    if source is None or source.kind not in ("path", "stored"):
        return ""
    try:
        there = projects.resolve_path(project, source).stat()
    except (ProjectError, OSError):
        return ""
    return f"{there.st_size},{there.st_mtime_ns}"
