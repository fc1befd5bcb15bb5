"""One session: which project is open, which recipe is shown, and how it is edited.

What is shown is the step of the recipe that the project on disk names. A session keeps the project, and the
address bar repeats its id so that a reload finds it again. Every edit is written before the page is drawn.
Where another window edits the same project, `follow` takes over its step.
"""

import hashlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Unpack

from quantscope.core.errors import ProjectChanged, ProjectRemoved, QuantScopeError
from quantscope.core.memo import Recent
from quantscope.core.model import Model
from quantscope.core.project import Project, marks
from quantscope.core.project import project as projects
from quantscope.core.quantize import Encodings, resolve
from quantscope.core.recipe import ChoiceChanges, Recipe, recipe_from_yaml, recipe_to_yaml
from quantscope.core.words import plural
from quantscope.ui.session import cached, fixes, keys, others
from quantscope.ui.session.jobs import Job, JobId, State
from quantscope.ui.session.keys import FittedRecipe, News, Page, Refusal, ShownRecipe
from quantscope.ui.session.memory import uninterrupted
from quantscope.ui.session.opening import QUANTIZED
from quantscope.ui.session.workspace import Workspace, prepare_first

RESOLVED = 4  # encodings of a model that are kept: several windows may show different steps
REFUSING = 2.0  # seconds in which work that removed its project, which it cannot open, has ended
NEWS_SECONDS = 30.0  # for which it is said what another window did
ELSEWHERE = f"{projects.CHANGED.capitalize()}; it is shown now as it is there."
ANEW = "This project was removed in another window or program, and opened anew; it is shown as it is there."
OTHER_DATA = "Other data were given to this project in another window or program; figures are measured anew."
AGAIN = "What you just did was not applied: do it again if you still want it."
_edits = threading.Lock()  # held from reading the step on disk until the next step is written
_tokens: deque[tuple[Recipe, str]] = deque(maxlen=16)
_tokens_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An opened project with all that a page draws."""

    project: Project
    opened: Workspace  # as it was opened
    workspace: Workspace  # with the model as the recipe's fixes leave it, and statistics of that
    recipe: Recipe
    encodings: Encodings  # before rounding and bias correction, which are found in the background
    known: Encodings | None = None  # exported ones of the saved step, carried over while a line is held
    held: bool = False  # a line is held in a drag: the recipe is that of no step

    @property
    def model(self) -> Model:
        """The float model, as the recipe's fixes leave it."""
        return self.workspace.model


def project() -> Project | None:
    """The open project; after a reload, the one that the address names."""
    known = keys.PROJECT.get()
    named = keys.PROJECT_IN_ADDRESS.get()
    if known is None and named:
        try:
            known = projects.open_project(named)
        except QuantScopeError as error:
            keys.NOTICE.set(str(error))
            keys.PROJECT_IN_ADDRESS.drop()
            return None
        keys.PROJECT.set(known)
    if known is not None and not known.folder.is_dir():
        _removed()
        return None
    if known is not None and named != known.id:
        keys.PROJECT_IN_ADDRESS.set(known.id)  # a change of page drops it
    return known


@uninterrupted
def _removed() -> None:
    """Close the open project, which is no longer there, and say why on the page that opens others."""
    known = keys.PROJECT.get()
    opening = cached.registry().get(opening_id(known.id)) if known is not None else None
    keys.GO.set(Page.OPEN)
    show(None)
    if opening is not None and opening.wait(REFUSING) and opening.state is State.FAILED:
        refuse(opening.error)
        _back()
    else:
        tell(f"{projects.REMOVED.capitalize()}.")


def _back() -> None:
    """Show what was open before the project that was refused."""
    before = keys.OPEN_BEFORE.pop()
    if before is not None:
        with suppress(QuantScopeError):  # removed meanwhile
            show(projects.open_project(before))


def refuse(words: str) -> None:
    """Say, where a project was asked for, why it is not opened."""
    keys.ENTER.set(False)
    keys.REFUSED.set(Refusal(keys.ASKED_AT.get(), words))


def looked_at(opened: Project) -> bool:
    """Whether the project's model is quantized already, so that it can only be looked at."""
    return bool(opened.model.options.get(QUANTIZED))


@uninterrupted
def follow() -> str:
    """Show what another window made of the open project; what that is, or nothing."""
    known = project()
    if known is None:
        return ""
    try:
        there = projects.open_project(known.id)
    except QuantScopeError as error:
        if project() is not None:  # it is there, but cannot be read
            keys.NOTICE.set(str(error))
            keys.GO.set(Page.OPEN)
            show(None)
        return str(error)
    keys.PROJECT.set(there)
    words = ANEW if there.identity != known.identity else ELSEWHERE if there.head != known.head else ""
    if there.identity != known.identity:
        keys.LAYER.pop()
        keys.HELD.pop()
    if words:
        tell(words)
        redraw_editors()
    if others.moved_on(there):
        tell(f"{words} {OTHER_DATA}".strip())
        cached.forget(there.id)
        start(there)
    return words


def tell(words: str) -> None:
    """Say what became of the open project, until this session goes on."""
    keys.NEWS.set(News(words, time.monotonic() + NEWS_SECONDS))


def news() -> str:
    """What another window did lately, until this one goes on; a page is drawn more than once meanwhile."""
    words, until = keys.NEWS.get()
    return words if time.monotonic() < until else ""


@uninterrupted
def session_id() -> str:
    """What tells this session from others."""
    known = keys.SESSION.get()
    if known is None:
        known = secrets.token_hex(16)
        keys.SESSION.set(known)
    return known


@uninterrupted
def show(opened: Project | None) -> None:
    """Open a project in this session, or none."""
    keys.LAYER.pop()
    keys.NEWS.pop()
    if opened is None:
        keys.PROJECT.pop()
        keys.PROJECT_IN_ADDRESS.drop()
        return
    keys.PROJECT.set(opened)
    keys.PROJECT_IN_ADDRESS.set(opened.id)


def opening_id(project: str) -> JobId[Workspace]:
    """Of the job that gets a project ready."""
    return JobId(project)


def start(opened: Project) -> Job[Workspace]:
    """Get an opened project ready in the background; nothing happens if that is under way or done."""
    cached.use(opened.id)
    known = cached.registry().get(opening_id(opened.id))
    if known is not None:
        return known
    return restart(opened)


def restart(opened: Project) -> Job[Workspace]:
    """As `start`, and also after a failure or a cancel."""
    cached.registry().forget(opened.id)
    others.remember_sources(opened)
    title = "Opening" if opened.calibrated else "Calibrating"
    return cached.registry().submit(
        opening_id(opened.id),
        title,
        lambda progress: prepare_first(opened, progress, projects.mark_calibrated),
        heavy=True,
    )


def job() -> Job[object] | None:
    """The job that gets the open project ready, its recipe's model fixes included."""
    opened = project()
    if opened is None or looked_at(opened):
        return None
    first = start(opened)
    space = first.result
    return first if space is None else fixes.job(opened, space, _recipe(opened)) or first


def retry(opened: Project) -> None:
    """Start the job of `job` over."""
    first = start(opened)
    if first.result is None:
        restart(opened)
    else:
        fixes.restart(opened, first.result, _recipe(opened))


def session() -> Session | None:
    """The open project with its workspace, recipe and encodings; None until it is ready."""
    opened = project()
    if opened is None or looked_at(opened):
        return None
    space = start(opened).result
    if space is None:
        return None
    recipe, fixed = _recipe(opened), space
    if (fixing := fixes.job(opened, space, recipe)) is not None:
        if fixing.result is None:
            return None
        fixed = fixes.changed(space, fixing.result)
    recipe, fixed = _known(recipe, fixed)
    return Session(
        project=opened,
        opened=space,
        workspace=fixed,
        recipe=recipe,
        encodings=resolved(opened, fixed, recipe),
    )


def _known(recipe: Recipe, space: Workspace) -> tuple[Recipe, Workspace]:
    """The recipe without layers that the model does not have, and a note that names them.

    A project may be older than a rule by which loading makes one layer of several, and layers that a model
    fix inserts go with it. Saved steps stay.
    """
    missing = [name for name in recipe.layers if name not in space.model.layer_names]
    if not missing:
        return recipe, space
    last = keys.FITTED.get()
    if last is None or last.given is not recipe or last.model != space.model.hash:
        there = {name: choice for name, choice in recipe.layers.items() if name not in missing}
        last = FittedRecipe(given=recipe, model=space.model.hash, fitted=replace(recipe, layers=there))
        keys.FITTED.set(last)
    listed = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
    note = (
        f"The recipe has choices for {plural(len(missing), 'layer')} that the model does not have: {listed}. "
        "These choices do nothing."
    )
    return last.fitted, replace(space, notes=(*space.notes, note))


def _recipe(opened: Project) -> Recipe:
    """The shown step's recipe."""
    step = (opened.id, opened.identity, opened.head)
    known = keys.RECIPE.get()
    if known is None or known.step != step:
        saved = projects.read_step(opened).recipe if opened.head else ""
        known = ShownRecipe(step=step, recipe=recipe_from_yaml(saved) if saved else Recipe())
        keys.RECIPE.set(known)
    return known.recipe


class Resolved(Recent[Encodings]):
    """Encodings of one model by the recipe's token."""

    def __init__(self) -> None:
        super().__init__(RESOLVED)


def resolved(opened: Project, workspace: Workspace, recipe: Recipe) -> Encodings:
    """Scales and zero points of the shown recipe; what an edit leaves alone is taken from the last ones."""
    known = cached.of_project(opened.id, Resolved, workspace.model.hash)
    token = recipe_token(recipe)
    found = known.get(token)
    if found is None:
        found = resolve(recipe, workspace.statistics, workspace.model, previous=known.newest())
        known.put(token, found)
    return found


def recipe_token(recipe: Recipe) -> str:
    """Content digest of a recipe; that of the last few is remembered. For any thread."""
    with _tokens_lock:
        known = next((token for other, token in _tokens if other is recipe), None)
    if known is None:
        known = hashlib.sha256(recipe_to_yaml(recipe).encode()).hexdigest()
        with _tokens_lock:
            _tokens.append((recipe, known))
    return known


def edit(change: Callable[[Recipe], Recipe], label: str) -> None:
    """Make a new recipe from the shown one and save it; for use in callbacks.

    What a user cannot have is said on the page (`notice`), and nothing changes. Where another window went
    on from the shown step, its step is shown instead: the change was made in view of another recipe.
    """

    def step(opened: Project) -> Project:
        before = _recipe(opened)
        after = change(before)
        if after == before:
            return opened
        return projects.record(opened, recipe_to_yaml(after), label, expected_head=opened.head)

    _move(step)


@uninterrupted
def _move(step: Callable[[Project], Project]) -> bool:
    """Go from the shown step to another; whether that was done."""
    with _edits:
        keys.NEWS.pop()
        words, opened = follow(), project()
        if opened is None:
            return False
        if not words:
            try:
                keys.PROJECT.set(step(opened))
                return True
            except (ProjectChanged, ProjectRemoved):  # by another process, at this moment
                words = follow()
            except (QuantScopeError, ValueError) as error:
                keys.NOTICE.set(str(error))
                return False
        if project() is not None:
            tell(f"{words or ELSEWHERE} {AGAIN}")
        return False


@uninterrupted
def redraw_editors() -> None:
    """Draw editable tables anew: the program changed what they show."""
    keys.EDITOR_REVISION.set(keys.EDITOR_REVISION.get() + 1)


def load_recipe(now: Session, content: bytes, name: str) -> None:
    """Show the recipe of a file, if it fits the model; for use in callbacks."""
    try:
        recipe = recipe_from_yaml(content.decode("utf-8"))
        resolve(fixes.without(recipe), now.opened.statistics, now.opened.model)
    except UnicodeDecodeError:
        keys.NOTICE.set(f"{name} is not a text file; choose a recipe that was saved here")
    except QuantScopeError as error:
        keys.NOTICE.set(str(error))
    else:
        edit(lambda _: recipe, f"recipe {name}")


def edit_layer(name: str, label: str, **changes: Unpack[ChoiceChanges]) -> None:
    """Change one layer's choice."""
    edit(lambda recipe: recipe.with_layer(name, **changes), label)


@uninterrupted
def undo() -> None:
    """Show the recipe before; for use in callbacks."""
    if _move(projects.undo):
        redraw_editors()


@uninterrupted
def redo() -> None:
    """Show the recipe after; for use in callbacks."""
    if _move(projects.redo):
        redraw_editors()


@uninterrupted
def go_to(number: int) -> None:
    """Show a step, wherever it stands in the history; an edit then starts a branch. For use in callbacks."""
    if _move(lambda opened: marks.go_to(opened, number)):
        redraw_editors()


@uninterrupted
def branch(number: int, label: str) -> None:
    """Make a new step from another, with its recipe, and show it; for use in callbacks."""

    def step(opened: Project) -> Project:
        same = projects.read_step(opened, number).recipe
        made = projects.record(replace(opened, head=number), same, label, expected_head=opened.head)
        return marks.go_to(made, made.head)

    if _move(step):
        redraw_editors()


def choose_layer(name: str) -> None:
    """Let the Inspector show a layer."""
    keys.HELD.pop()
    keys.LAYER.set(name)
