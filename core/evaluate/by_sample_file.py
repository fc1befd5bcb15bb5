"""Figures of every sample as a file: what `by_sample` found, to the bit."""

import io
import json
import zipfile

import numpy as np

from quantscope.core.errors import DataError
from quantscope.core.evaluate.answers import Answers, Array, Errors
from quantscope.core.evaluate.by_sample import BySample, VersionBySample
from quantscope.core.evaluate.confusions import ClassPairs

FORMAT = 1
_BROKEN = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


def by_sample_to_bytes(found: BySample) -> bytes:
    """As an .npz; `by_sample_from_bytes` reads it."""
    about = {
        "format": FORMAT,
        "outputs": list(found.outputs),
        "scored": found.scored,
        "classes": found.classes,
        "positions": found.positions,
        "versions": len(found.versions),
    }
    arrays: dict[str, Array] = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
    if found.labels is not None:
        arrays["labels"] = found.labels
    _put_answers(arrays, "float", found.floats)
    for at, pairs in enumerate(found.label_pairs):
        _put_pairs(arrays, f"label_pairs {at}", pairs)
    for at, version in enumerate(found.versions):
        _put_answers(arrays, f"version {at}", version.answers)
        _put_pairs(arrays, f"pairs {at}", version.pairs)
        for name in ("sqnr_db", "max_abs", "equal", "same", "differing"):
            arrays[f"version {at} {name}"] = getattr(version.errors, name)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def by_sample_from_bytes(content: bytes) -> BySample:
    """What `by_sample_to_bytes` wrote.

    Raises:
        DataError: It is damaged, or was written by another version of this program.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays["about"].tobytes())
        if about["format"] != FORMAT:
            raise ValueError("another format")
        versions = range(int(about["versions"]))
        return BySample(
            outputs=tuple(map(str, about["outputs"])),
            scored=about["scored"],
            classes=int(about["classes"]),
            positions=bool(about["positions"]),
            labels=arrays.get("labels"),
            floats=_answers(arrays, "float"),
            label_pairs=tuple(_pairs(arrays, f"label_pairs {at}") for at in range(len(versions) + 1)),
            versions=tuple(_version(arrays, at) for at in versions),
        )
    except _BROKEN as error:
        raise DataError("the figures of samples are damaged; they are measured again") from error


def _version(arrays: dict[str, Array], at: int) -> VersionBySample:
    return VersionBySample(
        answers=_answers(arrays, f"version {at}"),
        errors=Errors(
            sqnr_db=arrays[f"version {at} sqnr_db"],
            max_abs=arrays[f"version {at} max_abs"],
            equal=arrays[f"version {at} equal"],
            same=arrays[f"version {at} same"],
            differing=arrays[f"version {at} differing"],
        ),
        pairs=_pairs(arrays, f"pairs {at}"),
    )


def _put_answers(arrays: dict[str, Array], name: str, answers: Answers) -> None:
    arrays[f"{name} top"] = answers.top
    arrays[f"{name} scores"] = answers.scores
    arrays[f"{name} right"] = answers.right


def _answers(arrays: dict[str, Array], name: str) -> Answers:
    return Answers(top=arrays[f"{name} top"], scores=arrays[f"{name} scores"], right=arrays[f"{name} right"])


def _put_pairs(arrays: dict[str, Array], name: str, pairs: ClassPairs | None) -> None:
    if pairs is not None:
        arrays[name] = np.stack([pairs.first, pairs.second, pairs.counts])


def _pairs(arrays: dict[str, Array], name: str) -> ClassPairs | None:
    if name not in arrays:
        return None
    first, second, counts = arrays[name]
    return ClassPairs(first=first, second=second, counts=counts)
