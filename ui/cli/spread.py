"""The options of a command, declared as the fields of records, which the command receives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import copy
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import ParameterInfo

KEEP: Any = object()  # the field's own default


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What one command says of a field that others share, where it differs."""

    help: str | None = None  # None = as the field has it
    default: Any = KEEP


class Only:
    """The fields of a record that a command offers: `Annotated[Choices, Only("weights", "target")]`.

    The others keep their defaults. A keyword names a field of which the command says something of its own.
    """

    def __init__(self, *names: str, **own: Own) -> None:
        self.own: Mapping[str, Own] = {**{name: Own() for name in names}, **own}


def spread(function: Callable[..., None]) -> Callable[..., None]:
    """A command for Typer: its parameters that are records are replaced by their fields.

    Args:
        function: Takes single options and records of them, all by name.

    Raises:
        TypeError: Two parameters declare an option of the same name, or a field is no option.
    """
    flat: dict[str, inspect.Parameter] = {}
    packs: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        record, own = _record(parameter.annotation)
        found = [parameter] if record is None else list(_parameters(record, own))
        if record is not None:
            packs[parameter.name] = (record, tuple(one.name for one in found))
        for one in found:
            if one.name in flat:
                raise TypeError(f"{function.__name__} declares the option '{one.name}' twice")
            flat[one.name] = one.replace(kind=inspect.Parameter.KEYWORD_ONLY)

    def command(**given: Any) -> None:
        packed = {name: record(**_values(given, names)) for name, (record, names) in packs.items()}
        function(**given, **packed)

    command.__name__, command.__doc__, command.__module__ = (
        function.__name__,
        function.__doc__,
        function.__module__,
    )
    command.__annotations__ = {name: one.annotation for name, one in flat.items()}
    command.__signature__ = inspect.Signature(list(flat.values()))  # type: ignore[attr-defined]
    return command


def flag(record: type, name: str) -> str:
    """A field's option as one types it: `--ignore-label`, or `--symmetric/--asymmetric`."""
    option = _option(get_type_hints(record, include_extras=True)[name])
    declared = () if option is None else option_names(option)
    return declared[0] if declared else "--" + name.replace("_", "-")


def option_names(option: ParameterInfo) -> tuple[str, ...]:
    """The names that an option declares; none where it is named like its parameter."""
    first = [option.default] if isinstance(option.default, str) else []
    return (*first, *(option.param_decls or ()))


def given(record: Any, only: Collection[str] | None = None, but: Collection[str] = ()) -> list[str]:
    """The options of a record that a command line gave: those whose value is not the field's default.

    Args:
        record: As a command received it.
        only: Fields to ask about; None = all.
        but: Fields not to ask about.
    """
    return [
        flag(type(record), field.name)
        for field in fields(record)
        if (only is None or field.name in only)
        and field.name not in but
        and getattr(record, field.name) != field.default
    ]


def _record(annotation: Any) -> tuple[Any, Only | None]:
    """The record that a parameter takes, if it takes one, and which of its fields."""
    kind, *more = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    if not is_dataclass(kind):
        return None, None
    return kind, next((one for one in more if isinstance(one, Only)), None)


def _parameters(record: Any, only: Only | None) -> Iterator[inspect.Parameter]:
    """A parameter for each field that is offered, in the record's order."""
    hints = get_type_hints(record, include_extras=True)
    known: dict[str, Field[Any]] = {field.name: field for field in fields(record)}
    own = dict.fromkeys(known, Own()) if only is None else only.own
    unknown = own.keys() - known.keys()
    if unknown:
        raise TypeError(f"{record.__name__} has no field '{min(unknown)}'")
    for name, field in known.items():
        if name not in own:
            continue
        option = _option(hints[name])
        if option is None:
            raise TypeError(f"{record.__name__}.{name} is no option: annotate it with typer.Option")
        if own[name].help is not None:
            option = copy(option)
            option.help = own[name].help
        default = field.default if own[name].default is KEEP else own[name].default
        default = None if default == () else default  # as Typer has it for what may be repeated
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is MISSING else default,
            annotation=Annotated[_typed(get_args(hints[name])[0]), option],
        )


def _option(hint: Any) -> ParameterInfo | None:
    """The declaration in a field's annotation."""
    if get_origin(hint) is not Annotated:
        return None
    return next((one for one in get_args(hint)[1:] if isinstance(one, ParameterInfo)), None)


def _typed(kind: Any) -> Any:
    """A field's type as Typer knows it: what may be repeated is a list there, and a tuple in a record."""
    if get_origin(kind) is tuple:
        return list[get_args(kind)[0]]  # type: ignore[misc]
    return kind


def _values(given: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """What was given of some options, taken out of `given`; those without a value keep the record's."""
    found = {name: given.pop(name) for name in names}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in found.items()
        if value is not None
    }
