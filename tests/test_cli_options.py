"""Options of commands are declared once, as fields of records, and each is reachable and explained."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from quantscope.core.quant import ScaleRule
from quantscope.core.targets import TARGETS, Granularity, Precision
from quantscope.core.thresholds import Method, WeightMethod
from quantscope.core.tuning.mixed import Cost
from quantscope.ui.cli import command_line
from quantscope.ui.cli.commands.quantize import command as quantize
from quantscope.ui.cli.commands.sensitivity import command as sensitivity
from quantscope.ui.cli.commands.sensitivity.work import KINDS, METRICS
from quantscope.ui.cli.commands.tune import command as tune
from quantscope.ui.cli.options import AUTO, Choices, Feed, Running, Serving
from quantscope.ui.cli.recipes import PRECISIONS
from quantscope.ui.cli.spread import Only, Own, flag, given, spread
from quantscope.ui.terminal.console import INLINE, OPTIONAL, plain

RECORDS = (Feed, Running, Choices, Serving, tune.Aim, quantize.Asked, sensitivity.Asked)


def commands() -> dict[str, Any]:
    """The commands as Typer builds them, by name."""
    app: Any = typer.main.get_command(command_line.app)
    return dict(app.commands)


def options(command: Any) -> list[Any]:
    return [one for one in command.params if one.param_type_name == "option"]


def words(option: Any) -> set[str]:
    """All ways to write an option."""
    return {*option.opts, *option.secondary_opts}


@pytest.mark.parametrize(
    ("record", "name"),
    [(record, one.name) for record in RECORDS for one in fields(record)],
    ids=lambda value: getattr(value, "__qualname__", value),
)
def test_every_field_is_reached_by_one_option(record: type, name: str) -> None:
    """The same one in every command that offers it."""
    wanted = set(flag(record, name).split("/"))
    offering = {
        command: [option for option in options(made) if words(option) & wanted]
        for command, made in commands().items()
    }
    offering = {command: found for command, found in offering.items() if found}
    assert offering
    assert {len(found) for found in offering.values()} == {1}
    found = {frozenset(words(option)) - {"-o"} for of in offering.values() for option in of}
    assert found == {frozenset(wanted)}


def test_every_option_is_explained() -> None:
    every = [(name, option) for name, command in commands().items() for option in options(command)]
    assert len(every) > 80
    assert [(name, option.opts) for name, option in every if not option.help] == []


def test_no_command_has_an_option_twice() -> None:
    for name, command in commands().items():
        every = [word for option in options(command) for word in words(option)]
        assert len(every) == len(set(every)), name


def test_every_option_in_the_readme_exists(repo_root: Path) -> None:
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    ours = "\n".join(line for line in text.splitlines() if not re.search(r"\b(pip|git|apt) ", line))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", ours))
    app: Any = typer.main.get_command(command_line.app)
    known = {
        word for command in (app, *commands().values()) for one in options(command) for word in words(one)
    }
    assert len(mentioned) > 30
    assert mentioned - known == {"--help"}


def dashed(values: Iterable[str]) -> list[str]:
    return [value.replace("_", "-") for value in values]


# What an option may be, by the engine's own tables.
VALUES: dict[str, list[str]] = {
    "--method": [*(method.value for method in Method if method is not Method.MANUAL), AUTO],
    "--weights": dashed(Granularity),
    "--weight-method": dashed(WeightMethod),
    "--precision": list(PRECISIONS),
    "--precisions": list(Precision),
    "--scale-rule": dashed(ScaleRule),
    "--target": list(TARGETS),
    "--cost": list(Cost),
    "--kind": list(KINDS),
    "--metric": [name for name in METRICS if name != "sqnr_db"],
}


@pytest.mark.parametrize("name", VALUES)
def test_help_and_readme_name_every_value(repo_root: Path, name: str) -> None:
    texts = [one.help for command in commands().values() for one in options(command) if name in one.opts]
    readme = (repo_root / "README.md").read_text(encoding="utf-8").splitlines()
    texts += [line for line in readme if line.startswith(f"| `{name} ")]
    assert len(texts) >= 2
    for text in texts:
        words = set(re.findall(r"[\w-]+", text))
        assert [value for value in VALUES[name] if value not in words] == []


def test_each_command_has_a_folder(repo_root: Path) -> None:
    folders = {path.parent.name for path in (repo_root / "ui" / "cli" / "commands").glob("*/command.py")}
    assert folders == set(commands())
    assert {command.__name__ for command in command_line.COMMANDS} == folders
    with_work = {path.parent.name for path in (repo_root / "ui" / "cli" / "commands").glob("*/work.py")}
    assert with_work == folders - {"app", "demo"}
    assert with_work == {
        path.parent.name for path in (repo_root / "ui" / "cli" / "commands").glob("*/listing.py")
    }


# What `spread` makes of records


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A record with a field of every kind."""

    needed: Annotated[int, typer.Option(help="A number.")]
    named: Annotated[str | None, typer.Option("--other-name", metavar="X", help="Text.")] = None
    several: Annotated[tuple[str, ...], typer.Option(help="Repeatable.")] = ()
    switch: Annotated[bool | None, typer.Option("--yes/--no", help="A switch.")] = None
    newest: Annotated[float, typer.Option(help="A field that was added.")] = 1.5


def run(function: Callable[..., None], *arguments: str) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(spread(function))
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_a_field_is_all_that_an_option_takes() -> None:
    seen: list[tuple[str, Planted]] = []

    def work(first: Annotated[str, typer.Argument()], planted: Planted) -> None:
        """Do it."""
        seen.append((first, planted))

    assert run(work, "a", "--needed", "3").exit_code == 0
    assert (
        run(
            work,
            "b",
            "--needed",
            "4",
            "--other-name",
            "n",
            "--several",
            "x",
            "--several",
            "y",
            "--no",
            "--newest",
            "2",
        ).exit_code
        == 0
    )
    assert seen == [
        ("a", Planted(needed=3)),
        ("b", Planted(needed=4, named="n", several=("x", "y"), switch=False, newest=2.0)),
    ]
    shown = run(work, "--help").output
    assert "Do it." in shown
    for said in (
        "A number.",
        "[required]",
        "--other-name X",
        "Repeatable.",
        "--yes / --no",
        "[default: 1.5]",
    ):
        assert said in shown
    assert run(work, "a").exit_code == 2


def test_a_command_offers_a_part_and_says_it_in_its_own_words() -> None:
    seen: list[Planted] = []

    def work(planted: Annotated[Planted, Only("needed", newest=Own(help="Its own.", default=7.0))]) -> None:
        seen.append(planted)

    assert run(work, "--needed", "3").exit_code == 0
    assert seen == [Planted(needed=3, newest=7.0)]
    assert run(work, "--needed", "3", "--several", "x").exit_code == 2
    shown = run(work, "--help").output
    assert "Its own." in shown
    assert "added" not in shown


def test_given_tells_the_options_that_were_given() -> None:
    record = Planted(needed=3, named="n", switch=False)
    assert given(record) == ["--needed", "--other-name", "--yes/--no"]
    assert given(record, only=("named", "newest")) == ["--other-name"]
    assert given(record, but=("needed", "named")) == ["--yes/--no"]


def test_declarations_that_cannot_work_are_refused() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Bare:
        field: int = 0

    def twice(planted: Planted, newest: Annotated[int, typer.Option()] = 0) -> None: ...
    def lacking(planted: Annotated[Planted, Only("nothing")]) -> None: ...

    def bare(record: Bare) -> None: ...

    bare.__annotations__["record"] = Bare
    for function, says in (
        (twice, "'newest' twice"),
        (lacking, "'nothing'"),
        (bare, "Bare.field is no option"),
    ):
        with pytest.raises(TypeError, match=says):
            spread(function)


# What JSON makes of records


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    float_: float
    note: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    first: Inner | None
    inner: Inner = field(metadata=INLINE)
    last: tuple[int, ...] = ()


def test_records_as_json() -> None:
    found = plain(Outer(first=None, inner=Inner(float_=float("inf")), last=(1,)))
    assert list(found.items()) == [("first", None), ("float", None), ("last", [1])]
    assert plain(Outer(first=Inner(float_=1.0, note="n"), inner=Inner(float_=2.0))) == {
        "first": {"float": 1.0, "note": "n"},
        "float": 2.0,
        "last": [],
    }
