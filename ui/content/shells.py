"""Command lines for people to copy, quoted for the shell they are pasted into."""

import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z0-9_./:\\+-]+")  # needs no quotes in any shell of Windows
_SINGLE_QUOTES = "'\u2018\u2019\u201a\u201b"  # PowerShell takes all of these for one


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """A shell that command lines are typed into."""

    name: str
    language: str  # as syntax highlighting calls it
    quote: Callable[[str], str]
    line_end: str  # what makes the next line belong to the command

    def command(self, groups: Iterable[Sequence[str]]) -> str:
        """The command line, with a line for each group of words."""
        lines = (" ".join(self.quote(word) for word in group) for group in groups)
        return f" {self.line_end}\n  ".join(lines)


def quote_argument(word: str) -> str:
    """A word in double quotes, by the rules of Windows' CommandLineToArgvW.

    Backslashes are literal except before a double quote, where they are doubled; a double quote that
    belongs to the word has one more backslash before it.
    """
    inner = re.sub(r'(\\*)"', r'\1\1\\"', word)
    inner = re.sub(r"(\\+)\Z", r"\1\1", inner)
    return f'"{inner}"'


def quote_cmd(word: str) -> str:
    """A word at the prompt of cmd.exe, which has rules of its own before the program's.

    Between double quotes it takes & | < > ( ) ^ literally, but still replaces %NAME% by a variable's value,
    and counts every double quote. A word with one of these has no quotes in cmd's eyes: a caret takes each
    special character's meaning, also within the name of a variable, which then does not exist. As by
    default, ! is no special character.
    """
    if _PLAIN.fullmatch(word):
        return word
    quoted = quote_argument(word)
    return re.sub(r'[()%!^"<>&|]', r"^\g<0>", quoted) if re.search('[%"]', word) else quoted


def quote_powershell(word: str) -> str:
    """A word for PowerShell, where nothing but quotes means anything between single quotes.

    Double quotes arrive as they are from PowerShell 7.3 on; names of files in Windows have none.
    """
    if _PLAIN.fullmatch(word):
        return word
    return "'" + re.sub(f"[{_SINGLE_QUOTES}]", r"\g<0>\g<0>", word) + "'"


POSIX = Shell(name="Linux, macOS", language="bash", quote=shlex.quote, line_end="\\")
POWERSHELL = Shell(name="Windows, PowerShell", language="powershell", quote=quote_powershell, line_end="`")
CMD = Shell(name="Windows, cmd", language="batch", quote=quote_cmd, line_end="^")


def shells() -> tuple[Shell, ...]:
    """All of them, those of this platform first."""
    return (POWERSHELL, CMD, POSIX) if os.name == "nt" else (POSIX, POWERSHELL, CMD)
