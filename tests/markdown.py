"""The documents of the repository, taken apart: blocks of code, commands and what they show, links, names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)[ \t]*(.*)$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")  # images, too
CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced or indented block of code."""

    language: str  # "" for indented ones
    title: str  # what follows the language: the name of a file, or a condition
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line, and the lines of its output that the document shows."""

    words: tuple[str, ...]
    shown: tuple[str, ...]


def documents(root: Path) -> dict[str, str]:
    """The text of every document, by its path below `root`."""
    paths = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("sample_data/*.md")]
    paths += root.glob("benchmarks/*.md")
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


def sections(text: str) -> Iterator[tuple[str, str]]:
    """(heading, text up to the next heading) of every heading; what stands before the first has ""."""
    heading, body, fenced = "", [], False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if not fenced and re.match(r"#+ ", line):
            yield heading, "\n".join(body)
            heading, body = line.lstrip("#").strip(), []
        else:
            body.append(line)
    yield heading, "\n".join(body)


def blocks(text: str) -> Iterator[Block]:
    """Blocks of code in order. An indented one begins after an empty line, outside of fences."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        start = at + 1
        if fence:
            at = start
            while at < len(lines) and lines[at].rstrip() != "```":
                at += 1
            yield Block(language=fence[1], title=fence[2].strip(), lines=tuple(lines[start:at]))
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            while start < len(lines) and lines[start].startswith("    "):
                start += 1
            yield Block(language="", title="", lines=tuple(line.strip() for line in lines[at:start]))
            at = start - 1
        at += 1


def commands(block: Block) -> Iterator[Command]:
    """The commands of `quantscope` or of a module of its own in a block; in a session they follow a `$`."""
    session = block.language == "console"
    found: list[tuple[str, list[str]]] = []
    for line in block.lines:
        if session and line.startswith("$ "):
            found.append((line[2:], []))
        elif session and found:
            found[-1][1].append(line)
        elif not session:
            found.append((line, []))
    for line, shown in found:
        words = command_words(line)
        if words is not None:
            yield Command(words=words, shown=tuple(filter(str.strip, shown)))


def command_words(line: str) -> tuple[str, ...] | None:
    """The words of a command of ours; None for any other line.

    A description behind two blanks, a comment and optional parts in square brackets are left out.
    """
    line = re.sub(r"\s*\[[^\]]*\]", "", re.split(r"\s{2,}|\s#", line.strip())[0])
    line = re.sub(r"^(\.venv/bin/|.*\\)(?=quantscope|python)", "", line)
    if not re.match(r"(quantscope|python -m quantscope\.\S+)(\s|$)", line):
        return None
    return tuple(shlex.split(line))


def anchors(text: str) -> set[str]:
    """What can stand behind `#` in a link: headings as GitHub writes them."""
    found: set[str] = set()
    for heading, _ in sections(text):
        plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        name, count = plain, 0
        while name in found:
            count += 1
            name = f"{plain}-{count}"
        found.add(name)
    return found - {""}


def prose(text: str) -> str:
    """A text without its blocks of code."""
    out, fenced = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            out.append(line)
    return "\n".join(out)


def tables(text: str) -> Iterator[list[list[str]]]:
    """Tables as rows of cells, without their heads; a bar inside backticks is none of the table's."""
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            held = CODE.sub(lambda m: m[0].replace("|", "\0"), line)
            rows.append([cell.strip().replace("\0", "|") for cell in held.strip().strip("|").split("|")])
        elif rows:
            yield rows[2:]
            rows = []
