"""One session: which project is open, which recipe is shown, and what follows from it.

The project on disk is the truth. A session keeps its id, the address bar repeats it (so a reload finds
it again), and every edit is on disk before the page is drawn.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from core import project as projects
from core.errors import QuantScopeError
from core.layers import Layer
from core.model import Model
from core.passes.apply import PassRecord
from core.pipeline import carry_over
from core.progress import ProgressFn, report
from core.project import Project
from core.quant import Range
from core.recipe import Choice, Encodings, Recipe, resolve
from core.thresholds import Method
from ui import cached, exporting, fixes, measure, text
from ui.blame import explained
from ui.jobs import Job
from ui.rows import Row, layer_rows
from ui.workspace import Workspace, prepare

KEPT = 6  # projects (and trials) in memory; others are read again when they are opened
_tokens: deque[tuple[Recipe, str]] = deque(maxlen=16)
OPEN, LAYER, ADDRESS, HELD = "open_project", "shown_layer", "project", "held_range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An opened project with all that a page draws."""

    project: Project
    opened: Workspace  # as it was opened
    workspace: Workspace  # with the model as the recipe's fixes leave it, and statistics of that
    recipe: Recipe
    encodings: Encodings  # before rounding and bias correction, which are found in the background
    known: Encodings | None = None  # of a step before, to carry over what these found

    @property
    def model(self) -> Model:
        """The float model, as the recipe's fixes leave it."""
        return self.workspace.model


def project() -> Project | None:
    """The open project; after a reload, the one that the address names."""
    known: Project | None = st.session_state.get(OPEN)
    address = st.query_params.get(ADDRESS)
    if known is None and address:
        try:
            known = projects.open_project(address)
        except QuantScopeError as error:
            st.session_state["notice"] = str(error)
            st.query_params.pop(ADDRESS, None)
            return None
        st.session_state[OPEN] = known
    if known is not None and address != known.id:
        st.query_params[ADDRESS] = known.id  # a change of page drops it
    return known


def show(opened: Project | None) -> None:
    """Open a project in this session, or none."""
    st.session_state.pop(LAYER, None)
    if opened is None:
        st.session_state.pop(OPEN, None)
        st.query_params.pop(ADDRESS, None)
        return
    st.session_state[OPEN] = opened
    st.query_params[ADDRESS] = opened.id


def start(opened: Project) -> Job:
    """Get an opened project ready in the background; nothing happens if that is under way or done."""
    known = cached.registry().get(opened.id)
    if known is not None:
        return known
    return restart(opened)


def restart(opened: Project) -> Job:
    """As `start`, and also after a failure or a cancel."""
    cached.registry().forget(opened.id)
    cached.registry().trim(KEPT)
    title = "Opening" if opened.calibrated else "Calibrating"
    return cached.registry().submit(
        opened.id, title, lambda progress: prepare(opened, progress, projects.mark_calibrated)
    )


def job() -> Job | None:
    """The job that gets the open project ready, its recipe's model fixes included."""
    opened = project()
    if opened is None:
        return None
    first = start(opened)
    space: Workspace | None = first.result
    return first if space is None else fixes.job(opened, space, _recipe(opened)) or first


def retry(opened: Project) -> None:
    """Start the job of `job` over."""
    first = start(opened)
    if first.result is None:
        restart(opened)
    else:
        fixes.again(opened, first.result, _recipe(opened))


def session() -> Session | None:
    """The open project with its workspace, recipe and encodings; None until it is ready."""
    opened = project()
    if opened is None:
        return None
    space: Workspace | None = start(opened).result
    if space is None:
        return None
    recipe, fixed = _recipe(opened), space
    if (fixing := fixes.job(opened, space, recipe)) is not None:
        if fixing.result is None:
            return None
        fixed = fixes.changed(space, fixing.result)
    return Session(
        project=opened,
        opened=space,
        workspace=fixed,
        recipe=recipe,
        encodings=_encodings(opened, fixed, recipe),
    )


def _recipe(opened: Project) -> Recipe:
    """The shown step's recipe."""
    key = (opened.id, opened.head)
    known = st.session_state.get("recipe")
    if known is None or known[0] != key:
        saved = projects.read_step(opened).recipe if opened.head else ""
        known = st.session_state["recipe"] = (key, Recipe.from_yaml(saved) if saved else Recipe())
    recipe: Recipe = known[1]
    return recipe


def _encodings(opened: Project, workspace: Workspace, recipe: Recipe) -> Encodings:
    """Scales and zero points of the shown recipe; what an edit leaves alone is taken from the last ones."""
    place = cached.keep(("encodings", opened.id, workspace.model.hash))
    token = recipe_token(recipe)
    if token not in place:
        previous = place.get("last")
        place.pop(place.get("older", ""), None)
        place["older"] = place.get("newer")
        place["newer"] = token
        place[token] = place["last"] = resolve(
            recipe, workspace.statistics, workspace.model, previous=previous
        )
    encodings: Encodings = place[token]
    return encodings


def recipe_token(recipe: Recipe) -> str:
    """Content digest of a recipe; that of the last few is remembered."""
    known = next((token for other, token in _tokens if other is recipe), None)
    if known is None:
        known = hashlib.sha256(recipe.to_yaml().encode()).hexdigest()
        _tokens.append((recipe, known))
    return known


def edit(change: Callable[[Recipe], Recipe], label: str) -> None:
    """Make a new recipe from the shown one and save it; for use in callbacks.

    What a user cannot have is said on the page (`notice`), and nothing changes.
    """
    opened = project()
    if opened is None:
        return
    try:
        before = _recipe(opened)
        after = change(before)
        if after == before:
            return
        st.session_state[OPEN] = projects.record(opened, after.to_yaml(), label)
    except (QuantScopeError, ValueError) as error:
        st.session_state["notice"] = str(error)


def load_recipe(now: Session, content: bytes, name: str) -> None:
    """Show the recipe of a file, if it fits the model; for use in callbacks."""
    try:
        recipe = Recipe.from_yaml(content.decode("utf-8"))
        resolve(fixes.without(recipe), now.opened.statistics, now.opened.model)
    except UnicodeDecodeError:
        st.session_state["notice"] = f"{name} is not a text file; choose a recipe that was saved here"
    except QuantScopeError as error:
        st.session_state["notice"] = str(error)
    else:
        edit(lambda _: recipe, f"recipe {name}")


def edit_layer(name: str, label: str, **changes: Any) -> None:
    """Change one layer's choice."""
    edit(lambda recipe: recipe.with_layer(name, **changes), label)


def hold(now: Session, name: str, range_: Range | None) -> None:
    """Let `following` use a range of layer `name` that is not saved; None: no longer."""
    if range_ is None:
        st.session_state.pop(HELD, None)
    else:
        st.session_state[HELD] = (now.project.id, now.project.head, name, range_)


def following(now: Session) -> Session:
    """The session as it would be with the line that is held in a drag; itself without one."""
    id, head, name, range_ = st.session_state.get(HELD) or ("", 0, "", None)
    if (id, head) != (now.project.id, now.project.head):
        return now
    try:
        recipe = now.recipe.with_layer(name, method=Method.MANUAL, range=range_)
        encodings = resolve(recipe, now.workspace.statistics, now.model, previous=now.encodings)
    except (QuantScopeError, ValueError):
        return now  # said when it is saved
    return replace(now, recipe=recipe, encodings=encodings, known=finished(now))


def undo() -> None:
    """Show the recipe before; for use in callbacks."""
    _move(projects.undo)


def redo() -> None:
    """Show the recipe after; for use in callbacks."""
    _move(projects.redo)


def _move(step: Callable[[Project], Project]) -> None:
    opened = project()
    if opened is not None:
        try:
            st.session_state[OPEN] = step(opened)
            st.session_state["editor_rev"] = st.session_state.get("editor_rev", 0) + 1
        except QuantScopeError as error:
            st.session_state["notice"] = str(error)


def layer(now: Session) -> Layer:
    """The layer that the Inspector shows; the first computed one by default."""
    names = [entry.name for entry in now.model.layers]
    chosen = st.session_state.get(LAYER) or st.query_params.get("layer")
    if chosen not in names:
        computed = [entry.name for entry in now.model.layers if entry.kind == "compute"]
        chosen = (computed or names)[0]
    st.session_state[LAYER] = chosen
    return now.model.layer(chosen)


def choose_layer(name: str) -> None:
    """Let the Inspector show a layer."""
    st.session_state.pop(HELD, None)
    st.session_state[LAYER] = name


def rows(now: Session, *, with_local: bool = True) -> tuple[list[Row], bool]:
    """The layer table with what has been measured so far, and whether more is on its way."""
    outcome = effect(now)
    alone = local(now) if with_local else Live()
    kept: dict[Any, Any] = cached.keep(("range errors", now.project.id, now.model.hash))
    found = layer_rows(
        now.model,
        now.workspace.statistics,
        now.recipe,
        now.encodings,
        cumulative=outcome.value.layers if outcome.value is not None else (),
        local=alone.value,
        cache=kept,
    )
    return found, outcome.running or alone.running


def own_choice(recipe: Recipe, name: str) -> Choice:
    """What was chosen for a layer itself."""
    return recipe.layers.get(name, Choice())


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A measured figure: there, on its way, or not to be had. Never the figure of another recipe."""

    value: Any = None
    running: bool = False
    error: str = ""


def effect(now: Session, *, patience: float = 0.0) -> Live:
    """Outputs and cumulative layer errors of the shown recipe, on a few samples (`Preview`).

    Waits for up to `patience` seconds, so that small models need no second drawing.
    """
    return _measured("effect", now, measure.effect, patience)


def preview_samples(now: Session) -> str:
    """How many samples the edit loop's figures come from, in words."""
    few = now.workspace.preview
    return text.plural(len(few) if few is not None else 0, "sample")


def local(now: Session) -> Live:
    """Errors of every layer quantized alone (`dict` of `LayerError` by layer)."""
    return _measured("local", now, measure.local_errors)


def whole(now: Session) -> Live:
    """Accuracy, size and latency over the evaluation data (`Comparison`)."""
    return _measured(
        "whole", now, lambda case, tell: measure.whole(case, now.workspace.judged or case.samples, tell)
    )


def halves(now: Session) -> Live:
    """What weights and activations cost alone (`Halves`)."""
    return _measured("halves", now, measure.halves)


def verified(now: Session) -> Live:
    """The exported bytes, loaded again and compared with the preview (`Verified`)."""
    return _measured("verified", now, exporting.verify)


def final(now: Session, tell: ProgressFn) -> Encodings:
    """Encodings as they are exported, rounding and bias correction included; for background work."""
    if now.known is not None:
        return carry_over(now.model, now.encodings, now.known)
    place = _finals(now)
    return fixes.final(place, now.workspace, now.recipe, now.encodings, recipe_token(now.recipe), tell)


def finished(now: Session) -> Encodings | None:
    """What `final` found for the shown recipe, if it is there."""
    found: fixes.Final | None = _finals(now).get(recipe_token(now.recipe))
    return found.encodings if found is not None else None


def records(now: Session) -> tuple[PassRecord, ...]:
    """What the model fixes of the shown recipe did, as far as that is known."""
    space: Workspace | None = start(now.project).result
    fixing = fixes.job(now.project, space, now.recipe) if space is not None else None
    found: fixes.Final | None = _finals(now).get(recipe_token(now.recipe))
    return (*(fixing.result.records if fixing and fixing.result else ()), *(found.records if found else ()))


def _finals(now: Session) -> dict[str, Any]:
    place: dict[str, Any] = cached.keep(("final", now.project.id, now.model.hash))
    return place


def _token(now: Session) -> tuple[str, str, bool]:
    """What measured figures depend on."""
    return now.model.hash, recipe_token(now.recipe), now.known is not None


WORKERS = ("effect", "whole", "halves", "local", "verified")


def ready(now: Session) -> frozenset[str]:
    """The workers that have finished with the shown recipe."""
    token = _token(now)
    return frozenset(w for w in WORKERS if cached.latest(w, now.project.id).peek(token) is not None)


def busy(now: Session) -> bool:
    """True while a worker of the project has something to do."""
    return any(cached.latest(w, now.project.id).busy for w in WORKERS)


def _measured(worker: str, now: Session, work: Callable[..., Any], patience: float = 0.0) -> Live:
    """Ask a background worker for what follows from the shown recipe."""
    few = now.workspace.preview
    if few is None:
        return Live(error="there are no data to measure on; give calibration data on the Open page")
    place = cached.keep(("reference", now.project.id, now.model.hash))
    token = _token(now)
    queue = cached.latest(worker, now.project.id)

    def case(tell: ProgressFn) -> measure.Case:
        return measure.Case(
            place=place,
            original=now.opened.model,
            model=now.model,
            encodings=final(now, tell),
            samples=few,
        )

    def run(tell: ProgressFn) -> Any:
        if worker == "effect":  # follows edits; the others can wait
            return work(case(tell), tell)
        with cached.turn():
            report(tell, 0, 0, worker)  # who waited for long may be outdated by now
            return work(case(tell), tell)

    job = queue.request(token, worker, run)
    if job is None and patience:
        job = queue.wait(token, patience)
    if job is None:
        return Live(running=True)
    return Live(value=job.result, error=explained(job.error, now.model))
