"""What leaves the comparison by sample: changed samples as a file, and as the next calibration data."""

import io
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantscope.core.data import bytes_of, write_npz
from quantscope.core.errors import DataError
from quantscope.core.files import read_json, to_json
from quantscope.core.memo import Recent
from quantscope.core.model.loading import unique_name
from quantscope.core.progress import ProgressFn
from quantscope.core.project import Project, Source, resolve_path
from quantscope.core.project import project as projects
from quantscope.core.recipe import recipe_to_yaml
from quantscope.core.words import plural
from quantscope.ui.content.sample_kinds import Drawing, drawing_from_json, drawing_to_json
from quantscope.ui.content.sample_names import CLASSES, VOCABULARIES, beside, words_of
from quantscope.ui.runs.by_sample import Wanted, read_rows
from quantscope.ui.session import cached
from quantscope.ui.session.jobs import Job, JobId
from quantscope.ui.session.state import Session

MOST_BYTES = 512 << 20  # of samples that are written into one file
MOST_ROWS = 1000
DRAWING = "files/drawing-of-samples.json"
CLASS_NAMES, TOKEN_NAMES = "names-of-classes", "names-of-tokens"  # files of the project
Array = npt.NDArray[Any]


def most_rows(wanted: Wanted) -> int:
    """Samples that fit into one file."""
    first = wanted.samples[0]
    each = sum(value.nbytes for value in first.values()) // max(1, wanted.samples.batch)
    return max(1, min(MOST_ROWS, MOST_BYTES // max(1, each)))


def npz_of(wanted: Wanted, rows: Sequence[int]) -> bytes:
    """Samples with the outputs of all models, as an .npz that can be opened as data.

    Inputs stand under their names, with `labels` where there are any; beside them `index`, the places in the
    data, and the outputs as "float/NAME" and "VERSION/NAME"; versions of one name are numbered. Where sizes
    differ from sample to sample, each stands alone under a name that ends in its place.
    """
    chosen = read_rows(wanted, rows, lambda _: None)
    arrays: dict[str, Array] = {}
    labels = wanted.samples.labels
    if labels is not None:
        arrays["labels"] = labels[np.array(rows, np.int64)]
    for name in chosen[0].inputs if chosen else ():
        _put(arrays, name, [row.inputs[name] for row in chosen], rows)
    models = {"float"}
    for at, wished in enumerate(("float", *(_plain(version.short) for version in wanted.versions))):
        model = unique_name(wished, models) if at else wished
        for name in chosen[0].outputs[at] if chosen else ():
            _put(arrays, f"{model}/{name}", [row.outputs[at][name] for row in chosen], rows)
    arrays.setdefault("index", np.array(rows, np.int64))  # an input may have that name
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _put(arrays: dict[str, Array], name: str, values: Sequence[Array], rows: Sequence[int]) -> None:
    if len({value.shape for value in values}) == 1:
        arrays[name] = np.stack(values)
        return
    for row, value in zip(rows, values, strict=True):
        arrays[f"{name}/{row}"] = value


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_") or "version"


# --- as calibration data ---


def why_not_calibration(now: Session) -> str:
    """Why these samples cannot be added to the calibration data; "" if they can."""
    calibration, judging = now.workspace.samples, now.workspace.evaluation
    if judging is None:
        return "These samples are the calibration data already. Give evaluation data on the Open page."
    if calibration is None:
        return "The calibration data are no longer there, so nothing can be added to them."
    if calibration.batch > 1:
        return "The model takes several rows at a time; samples cannot be added one by one."
    return ""


def copied_bytes(now: Session) -> int:
    """About how many bytes a project of `recalibrated` takes on disk."""
    return sum(bytes_of(samples) for samples in (now.workspace.samples, now.workspace.evaluation) if samples)


def recalibration(wanted: Wanted) -> Job[Project] | None:
    """The job that makes a project by `recalibrated`, if there is one."""
    return cached.registry().get(_recalibration_id(wanted))


def start_recalibration(wanted: Wanted, rows: Sequence[int]) -> None:
    """Make a project by `recalibrated` in the background."""
    id = _recalibration_id(wanted)
    cached.registry().restart(id, "Making the project", lambda tell: recalibrated(wanted, rows, tell))


def forget_recalibration(wanted: Wanted) -> None:
    """Know nothing of it any more."""
    cached.registry().forget(_recalibration_id(wanted))


def _recalibration_id(wanted: Wanted) -> JobId[Project]:
    return JobId(f"{wanted.now.project.id}:recalibration")


def recalibrated(wanted: Wanted, rows: Sequence[int], tell: ProgressFn | None = None) -> Project:
    """A new project: these samples calibrate too, and judge no longer; model and recipe stay as they are.

    Both data sets are written into it, so that they can be given to the command line, too.

    Raises:
        QuantScopeError: It cannot be made, or not be written.
    """
    now = wanted.now
    calibration, judging, why = now.workspace.samples, now.workspace.evaluation, why_not_calibration(now)
    if why or calibration is None or judging is None:
        raise DataError(why)
    if len(rows) >= len(judging):
        raise DataError("no samples would be left to judge on; choose fewer")
    taken = set(rows)
    rest = [place for place in range(len(judging)) if place not in taken]
    name = f"{now.project.name} + {plural(len(rows), 'sample')}"
    nothing = Source(kind="random")
    made = projects.create(name, nothing, nothing)
    try:
        folder = made.folder / "files"
        write_npz(folder / "calibration.npz", [calibration, judging.select(sorted(taken))], tell)
        write_npz(folder / "evaluation.npz", [judging.select(rest)], tell)
        made = replace(
            made,
            model=_carried(now.project, made, now.project.model),
            data=Source(kind="stored", path="files/calibration.npz"),
            evaluation=Source(kind="stored", path="files/evaluation.npz"),
        )
        projects.save(made)
        label = f"as in {now.project.name}, {plural(len(rows), 'sample')} added to calibration"
        return projects.record(made, recipe_to_yaml(now.recipe), label)
    except OSError as error:
        projects.delete(made.id)
        reason = error.strerror or error
        raise DataError(f"the samples cannot be written to {made.folder}: {reason}") from error
    except BaseException:
        projects.delete(made.id)
        raise


def _carried(old: Project, made: Project, source: Source) -> Source:
    """A source as another project has it; a file that lies inside the old project is copied."""
    if source.kind != "stored":
        return source
    path = resolve_path(old, source)
    return replace(source, path=projects.store_file(made, path.name, path.read_bytes()))


# --- how samples are drawn ---


def drawing_of(now: Session, guess: Drawing) -> Drawing:
    """As the user said, or as guessed."""
    body = read_json(now.project.folder / DRAWING)
    return guess if body is None else drawing_from_json(body, guess)


def keep_drawing(now: Session, drawing: Drawing) -> None:
    """Keep with the project how samples are drawn.

    Raises:
        QuantScopeError: It cannot be written.
    """
    projects.write_file(now.project, DRAWING, to_json(drawing_to_json(drawing)))


# --- names ---


class _Names(Recent[tuple[str, ...]]):
    """Names as files hold them, by file and time of its last change."""

    def __init__(self) -> None:
        super().__init__(8)


def class_names(now: Session, count: int) -> tuple[str, ...]:
    """Names of classes: given by the user, those of the labels, or from a file beside the data.

    Args:
        now: The open project.
        count: Classes that the model has; 0 = unknown. A file with another number of names is of others.
    """
    known = _given(now, CLASS_NAMES)
    judged = now.workspace.judged
    if not known and judged is not None and judged.label_names:
        return judged.label_names
    found = () if known else _beside(now, CLASSES)
    return known or (found if count and len(found) == count else ())


def token_names(now: Session) -> tuple[str, ...]:
    """The vocabulary: given by the user, or from a file beside the data or the model."""
    return _given(now, TOKEN_NAMES) or _beside(now, VOCABULARIES)


def keep_names(now: Session, which: str, content: bytes, name: str) -> None:
    """Keep names in the project.

    Args:
        now: The open project.
        which: `CLASS_NAMES` or `TOKEN_NAMES`.
        content: Of a file as `words_of` takes it.
        name: Of the file.

    Raises:
        DataError: It holds no names.
    """
    words = words_of(content, name)
    projects.write_file(now.project, f"files/{which}.json", json.dumps(words).encode())


def given_token(now: Session) -> tuple[int, ...]:
    """Stands for what the user said of drawings and names, and changes with it."""
    folder = now.project.folder
    return tuple(
        _changed_at(path)
        for path in (folder / DRAWING, _file_of_names(now, CLASS_NAMES), _file_of_names(now, TOKEN_NAMES))
    )


def _changed_at(path: Path) -> int:
    """Time of the last change; 0 where there is no such file."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def were_given(now: Session, which: str) -> bool:
    """Whether the user gave names, of classes or tokens, that can be read."""
    return bool(_given(now, which))


def forget_names(now: Session, which: str) -> None:
    """Use the names that the user gave no longer."""
    with suppress(OSError):  # they go with the project
        _file_of_names(now, which).unlink(missing_ok=True)


def _file_of_names(now: Session, which: str) -> Path:
    return now.project.folder / "files" / f"{which}.json"


def _given(now: Session, which: str) -> tuple[str, ...]:
    path = _file_of_names(now, which)
    changed = _changed_at(path)
    if not changed:
        return ()
    kept = cached.of_project(now.project.id, _Names)
    return kept.get_or_make((which, changed), lambda: _read(path))


def _read(path: Path) -> tuple[str, ...]:
    try:
        return words_of(path.read_bytes(), path.name)
    except (OSError, DataError):
        return ()


def _beside(now: Session, wanted: Sequence[str]) -> tuple[str, ...]:
    """From the folders of data and model, where these lie on this machine."""
    sources = (now.project.evaluation, now.project.data, now.project.model)
    kept = cached.of_project(now.project.id, _Names)

    def found() -> tuple[str, ...]:
        for source in sources:
            if source is None or source.kind != "path":
                continue
            place = Path(source.path)
            names = beside(place if place.is_dir() else place.parent, wanted)
            if names:
                return names
        return ()

    return kept.get_or_make(tuple(wanted), found)
