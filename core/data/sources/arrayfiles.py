"""Array files as samples: .npz, .npy, and folders of them, matched to the model's inputs by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantscope.core.data.samples import Feed, group
from quantscope.core.data.sources.arrays import ArrayRows, FileRows, open_npy, open_npz
from quantscope.core.data.sources.feeds import Batch, array_feed, open_batch
from quantscope.core.data.sources.fitting import fits
from quantscope.core.data.sources.imagefiles import natural_key
from quantscope.core.data.sources.inputs import Input, text
from quantscope.core.data.sources.labels import LABELS, RawLabels, joined, of_rows, read_labels
from quantscope.core.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContent:
    """What a source holds: a feed, labels if there are any, and what is to be said about it."""

    feed: Feed
    labels: RawLabels
    warnings: tuple[str, ...]
    label_names: tuple[str, ...] = ()


Stored = FileRows | ArrayRows


def npz_arrays(path: Path) -> dict[str, FileRows | DataError]:
    """The arrays of an npz by key, or what is wrong with one; `DataError` if there are none."""
    arrays = open_npz(path)
    if not arrays:
        raise DataError(f"{path.name} holds no arrays: save with np.savez(path, input_name=array)")
    return arrays


def open_npz_samples(path: Path, inputs: tuple[Input, ...]) -> SourceContent:
    """Samples of one npz: keys are input names, the first axis counts samples."""
    rows, labels, said = match(npz_arrays(path), inputs, path.name)
    batch, more = open_batch(rows, inputs, path.name)
    return found([batch], inputs, [of_rows(labels, batch.fit.count)], said + more)


def open_npy_samples(path: Path, inputs: tuple[Input, ...]) -> SourceContent:
    """Samples of one npy, for a model with one input."""
    if len(inputs) != 1:
        raise DataError(
            f"{path.name} holds one array, but the model has {len(inputs)} inputs "
            f"({_listed(info.name for info in inputs)}): save an npz with these names as keys"
        )
    batch, said = open_batch({inputs[0].name: open_npy(path)}, inputs, path.name)
    return found([batch], inputs, [RawLabels()], said)


def folder_files(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files of a folder by suffix, naturally sorted, without hidden ones."""
    files = [f for f in path.iterdir() if f.suffix.lower() in suffixes and not f.name.startswith(".")]
    return sorted((f for f in files if f.is_file()), key=lambda f: natural_key(f.name))


def what_there_is(path: Path) -> str:
    """Why nothing was found in a folder, as far as its files tell; for a message."""
    lost = [file.name for file in path.iterdir() if file.is_symlink() and not file.exists()]
    if lost:
        return f" ('{sorted(lost)[0]}' is a link to nothing)"
    files = [file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")]
    deep = sorted(file.parent for file in files if file.suffix.lower() in (".npz", ".npy"))
    if deep:
        return f" (but '{deep[0].relative_to(path)}' in it does: name that folder)"
    endings = sorted({file.suffix.lower() for file in files if file.suffix})
    return (
        f" (its files end in {', '.join(endings[:4])}{', …' if len(endings) > 4 else ''})" if endings else ""
    )


def open_array_folder(path: Path, inputs: tuple[Input, ...]) -> SourceContent | None:
    """Samples of a folder of array files, or None if it holds none.

    Either one file (or sub-folder of files) an input, named as the input; or files of samples, each a batch.
    """
    per_input = _files_per_input(path, inputs)
    label_file = path / f"{LABELS}.npy"
    files = [file for file in folder_files(path, (".npz", ".npy")) if file != label_file]
    if per_input is None and not files:
        return None
    batches: list[Batch] = []
    labels: list[RawLabels] = []
    said: list[str] = []
    if per_input is not None:
        for group in zip(*per_input.values(), strict=True):
            rows: dict[str, Stored] = {
                name: open_npy(file) for name, file in zip(per_input, group, strict=True)
            }
            batch, more = open_batch(rows, inputs, f"{path.name}/{group[0].name}")
            batches.append(batch)
            said += more
    else:
        for file in files:
            if file.suffix.lower() == ".npy" and len(inputs) > 1:
                names = _listed(info.name for info in inputs)
                raise DataError(
                    f"{path.name}/{file.name} holds one array, but the model has {len(inputs)} inputs: "
                    f"name the files after the inputs ({names}) or use npz files"
                )
            npz = file.suffix.lower() == ".npz"
            one = npz_arrays(file) if npz else {inputs[0].name: open_npy(file)}
            rows, own, about = match(one, inputs, file.name)
            batch, more = open_batch(rows, inputs, file.name)
            batches.append(batch)
            labels.append(of_rows(own, batch.fit.count))
            said += about + more
    if label_file.is_file():
        labels = [read_labels(lambda: open_npy(label_file).whole())]
    return found(batches, inputs, labels, said)


def _files_per_input(path: Path, inputs: tuple[Input, ...]) -> dict[str, list[Path]] | None:
    """One file, or one sub-folder of as many files, for each input; None if the folder is not laid out so."""
    files = {info.name: path / f"{info.name}.npy" for info in inputs}
    if all(file.is_file() for file in files.values()):
        return {name: [file] for name, file in files.items()}
    folders = {info.name: path / info.name for info in inputs}
    if not all(folder.is_dir() for folder in folders.values()):
        return None
    lists = {name: folder_files(folder, (".npy",)) for name, folder in folders.items()}
    counts = {name: len(items) for name, items in lists.items()}
    if len(set(counts.values())) > 1 or not all(counts.values()):
        listed = ", ".join(f"'{name}' {count}" for name, count in counts.items())
        raise DataError(
            f"{path.name}: the inputs' sub-folders hold different numbers of .npy files ({listed})"
        )
    return lists


def found(
    batches: Sequence[Batch],
    inputs: tuple[Input, ...],
    labels: Sequence[RawLabels],
    said: Sequence[str],
) -> SourceContent:
    """Batches as one feed, grouped where the model fixes its batch."""
    feed: Feed = array_feed(batches, inputs)
    said = list(said)
    size = batches[0].fit.batch
    if size > 1:
        feed, more = group(feed, size, frozenset(batches[0].shared))
        said += more
    have = [own.values for own in labels if own.values is not None]
    fault = next((own.fault for own in labels if own.fault), "")
    raw = RawLabels(fault=fault)
    if have and not fault and len(have) == len(labels):
        raw = read_labels(lambda: joined(have))
    elif have and not fault:
        said.append(f"{len(have)} of {len(labels)} files hold labels; they are not used")
    return SourceContent(feed=feed, labels=raw, warnings=shortened(said))


def shortened(said: Sequence[str]) -> tuple[str, ...]:
    """Warnings without repetitions; what differs only in the file's name is listed once and counted."""
    out: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    for line in dict.fromkeys(said):
        kind = line.partition(": ")[2] or line
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] == 1:
            out.append((kind, line))
    return tuple(
        line if seen[kind] == 1 else f"{line} (and {seen[kind] - 1} more files)" for kind, line in out
    )


def match(
    arrays: Mapping[str, Stored | DataError], inputs: Sequence[Input], label: str
) -> tuple[dict[str, Stored], RawLabels, list[str]]:
    """Arrays by input, the labels, and warnings; `DataError` for missing and unreadable inputs."""
    names = [info.name for info in inputs]
    others = {key: rows for key, rows in arrays.items() if key not in names}
    labels = others.pop(LABELS, None)
    rows = {name: readable(arrays[name]) for name in names if name in arrays}
    said = []
    missing = [info for info in inputs if info.name not in arrays]
    if missing and len(inputs) == 1:
        key = _only_candidate(others, missing[0], label)
        rows[names[0]] = readable(others.pop(key))
        said.append(f"{label}: array '{key}' is taken for the model's only input '{names[0]}'")
    elif missing and len(missing) == len(inputs) and list(others) == [f"arr_{i}" for i in range(len(inputs))]:
        rows = dict(zip(names, map(readable, others.values()), strict=True))
        said.append(
            f"{label}: unnamed arrays are taken for the inputs in the model's order ({_listed(names)})"
        )
        others = {}
    elif missing:
        info = missing[0]
        raise DataError(
            f"{label} has no array for input '{info.name}' ({info.dtype}, {text(info.shape)}); it holds "
            f"{_listed(arrays)}: name the arrays after the inputs ({_listed(names)})"
        )
    if others:
        said.append(f"{label}: {_listed(others)} {'is' if len(others) == 1 else 'are'} no input; not used")
    own = RawLabels() if labels is None else read_labels(lambda: readable(labels).whole())
    return rows, own, said


def readable(member: Stored | DataError) -> Stored:
    """An array of an npz; raises what is wrong with it."""
    if isinstance(member, DataError):
        raise member
    return member


def _only_candidate(others: Mapping[str, Stored | DataError], info: Input, label: str) -> str:
    """The array that can only be meant for the only input."""
    if len(others) == 1:
        return next(iter(others))
    rank = len(info.shape)
    fitting = [
        key
        for key, rows in others.items()
        if not isinstance(rows, DataError)
        and fits(rows.shape[1:], info.shape[1:] if len(rows.shape) == rank else info.shape)
    ]
    if len(fitting) == 1:
        return fitting[0]
    raise DataError(
        f"{label} has no array '{info.name}'; it holds {_listed(others) or 'only labels'}: "
        f"name the array '{info.name}' after the model's input"
    )


def _listed(names: Any) -> str:
    """Up to ten names in quotes."""
    every = [f"'{name}'" for name in names]
    return ", ".join(every[:10]) + (f" and {len(every) - 10} more" if len(every) > 10 else "")
