"""Reads JSON documents into frozen dataclasses, strictly, and names the field where one is wrong.

The annotations of a dataclass are its schema: `int`, `float`, `bool`, `str`, `Literal[...]`, another
dataclass, `X | None`, `dict[str, Scalar]`, `tuple[X, ...]`, and `Annotated` with one of the bounds below. A
field without a default must be there; a field that the dataclass does not have is refused.
"""

import dataclasses
import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

Scalar = bool | int | float | str
Read = TypeVar("Read")

_HUMP: Final = re.compile(r"_([a-z])")


class DocumentError(ValueError):
    """A document is not what its name promises; the text is a sentence that names the field."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value of a number, both allowed."""

    least: float = -math.inf
    most: float = math.inf
    finite: bool = True


@dataclass(frozen=True, slots=True)
class Matching:
    """A text must fulfil this; `rule` ends the sentence 'FIELD must be …'."""

    accepts: Callable[[str], bool]
    rule: str


ANY_NUMBER: Final = Bounds(finite=False)
"""For measurements, which may be NaN."""


def camel(name: str) -> str:
    """`save_period` -> `savePeriod`."""
    return _HUMP.sub(lambda match: match[1].upper(), name)


def key_of(field: "dataclasses.Field[Any]", keys: Callable[[str], str]) -> str:
    """The name of a field in JSON: its own `key`, else what `keys` makes of its name."""
    return str(field.metadata.get("key") or keys(field.name))


def read(
    kind: type[Read],
    document: object,
    *,
    where: str,
    keys: Callable[[str], str] = camel,
    closed: bool = True,
) -> Read:
    """The dataclass that `document` describes; `where` is what the document is called in sentences.

    Unless `closed`, fields that the outermost dataclass does not have are skipped.
    """
    if not isinstance(document, Mapping):
        _refuse(f"{where} must be a JSON object.")
    hints = get_type_hints(kind, include_extras=True)
    fields = {key_of(field, keys): field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if closed and (unknown := [str(name) for name in document if name not in fields]):
        _refuse(f"{where} has the unknown field {unknown[0]!r}; it knows {', '.join(sorted(fields))}.")
    values = {}
    for key, field in fields.items():
        if key in document:
            values[field.name] = _value(hints[field.name], document[key], f"{where}.{key}", keys)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            _refuse(f"{where} lacks {key}.")
    return kind(**values)


def written(value: object, *, keys: Callable[[str], str] = camel) -> Any:  # noqa: ANN401 - plain JSON
    """What `read` reads back as the same dataclass."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            key_of(field, keys): written(getattr(value, field.name), keys=keys)
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(name): written(item, keys=keys) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [written(item, keys=keys) for item in value]
    return value


def _value(hint: Any, value: object, where: str, keys: Callable[[str], str]) -> Any:  # noqa: ANN401
    bound: object = None
    if get_origin(hint) is Annotated:
        hint, bound = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint):
        if value is None:
            return None
        (hint,) = (one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is dict:
        return _dictionary(get_args(hint)[1], value, where, keys)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            _refuse(f"{where} must be a list.")
        return tuple(
            _value(get_args(hint)[0], item, f"{where}[{index}]", keys) for index, item in enumerate(value)
        )
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return read(hint, value, where=where, keys=keys)
    return _plain(hint, bound, value, where)


def _dictionary(hint: object, value: object, where: str, keys: Callable[[str], str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        _refuse(f"{where} must be a JSON object.")
    if hint != Scalar:
        return {str(name): _value(hint, item, f"{where}.{name}", keys) for name, item in value.items()}
    for name, item in value.items():
        if not isinstance(item, Scalar):
            _refuse(f"{where}.{name} must be a number, text, true or false.")
    return {str(name): item for name, item in value.items()}


def _plain(hint: Any, bound: object, value: object, where: str) -> Any:  # noqa: ANN401
    if get_origin(hint) is Literal:
        if not isinstance(value, str) or value not in get_args(hint):
            _refuse(f"{where} must be one of {', '.join(map(str, get_args(hint)))}.")
        return value
    if hint is bool:
        if not isinstance(value, bool):
            _refuse(f"{where} must be true or false.")
        return value
    if hint is str:
        if not isinstance(value, str):
            _refuse(f"{where} must be text.")
        if isinstance(bound, Matching) and not bound.accepts(value):
            _refuse(f"{where} must be {bound.rule}; it is {value!r}.")
        return value
    number = number_in(value, bound if isinstance(bound, Bounds) else Bounds(), where, whole=hint is int)
    return number if hint is int else float(number)


def number_in(value: object, bounds: Bounds, where: str, *, whole: bool) -> int | float:
    """The number, if it is one and within its bounds."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        _refuse(f"{where} must be a {'whole ' if whole else ''}number.")
    try:
        as_real = float(value)
    except OverflowError:
        as_real = math.inf
    if bounds.finite and not math.isfinite(as_real):
        _refuse(f"{where} must be finite.")
    if as_real < bounds.least:
        _refuse(f"{where} must be at least {bounds.least:g}; it is {value}.")
    if as_real > bounds.most:
        _refuse(f"{where} must be at most {bounds.most:g}; it is {value}.")
    return value


def _refuse(sentence: str) -> NoReturn:
    raise DocumentError(sentence)


def _is_file_name(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and name.isprintable()


FILE_NAME: Final = Matching(_is_file_name, "the name of one file or folder")
FILE_NAME_OR_EMPTY: Final = Matching(lambda name: not name or _is_file_name(name), FILE_NAME.rule)
