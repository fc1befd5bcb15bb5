"""Words for numbers: names of classes, and the vocabulary of tokens, from the files that models come with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from quantscope.core.errors import DataError

VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokens.txt")
CLASSES = ("classes.txt", "labels.txt", "class_names.txt", "names.txt")
LARGEST = 64 << 20  # bytes of a file with names
MOST = 2_000_000  # names


def words_of(content: bytes, name: str) -> tuple[str, ...]:
    """The name of each number, in order; empty where a number has none.

    Args:
        content: Of `tokenizer.json`, a JSON object of names and numbers or a list of names, or text with a
            name in each line, as it is or followed by its number.
        name: Of the file.

    Raises:
        DataError: It is none of these.
    """
    wrong = (
        f"{name} holds no names: give a tokenizer.json, a JSON object or list of names, or a text file with "
        "one name in each line"
    )
    if len(content) > LARGEST:
        raise DataError(f"{name} is too large for a list of names ({len(content) >> 20} MB)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(wrong) from error
    try:
        found = _from_json(json.loads(text)) if name.lower().endswith(".json") else _from_lines(text)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise DataError(wrong) from error
    if not found or len(found) > MOST:
        raise DataError(wrong)
    return found


def _from_json(body: object) -> tuple[str, ...]:
    if isinstance(body, dict) and isinstance(body.get("model"), dict):  # of Hugging Face's tokenizers
        vocabulary = body["model"]["vocab"]
        added = {str(entry["content"]): entry["id"] for entry in body.get("added_tokens") or []}
        if isinstance(vocabulary, list):
            vocabulary = {str(entry[0]): number for number, entry in enumerate(vocabulary)}
        return _numbered({**vocabulary, **added})
    if isinstance(body, dict):
        if all(key.isdecimal() for key in body):  # number: name
            return _numbered({str(value): int(key) for key, value in body.items()})
        return _numbered(body)
    if isinstance(body, list) and all(isinstance(entry, str) for entry in body):
        return tuple(body)
    return ()


def _from_lines(text: str) -> tuple[str, ...]:
    """A name a line, as it is or followed by its number."""
    lines = text.rstrip().splitlines()
    pairs = [line.rsplit(maxsplit=1) for line in lines]
    if len(lines) > 1 and all(len(pair) == 2 and pair[1].isdecimal() for pair in pairs):
        return _numbered({pair[0]: int(pair[1]) for pair in pairs})
    return tuple(lines)


def _numbered(names: Mapping[str, object]) -> tuple[str, ...]:
    numbers = {name: number for name, number in names.items() if isinstance(number, int) and number >= 0}
    size = max(numbers.values(), default=-1) + 1
    if size > MOST:
        return ()
    out = [""] * size
    for name, number in numbers.items():
        out[number] = name
    return tuple(out)


def beside(folder: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    """The names of the first of some files in a folder that can be read; none where there is none."""
    for name in wanted:
        path = folder / name
        try:
            if path.is_file() and path.stat().st_size <= LARGEST:
                return words_of(path.read_bytes(), name)
        except (OSError, DataError):
            continue
    return ()


def class_name(number: int, names: Sequence[str]) -> str:
    """A class in words; its number where it has no name."""
    if number < 0:
        return "none"
    if number < len(names) and names[number]:
        return names[number]
    return f"{number:,}"


def token_word(number: int, words: Sequence[str]) -> str:
    """A token as it is written, or its number; marks of blanks become blanks."""
    if not 0 <= number < len(words) or not words[number]:
        return f"{number}"
    return words[number].replace("Ġ", " ").replace("▁", " ").replace("Ċ", "⏎")
