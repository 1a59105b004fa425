"""Turns anything into what JSON can hold, within bounds, without secrets and without raising."""

import dataclasses
import math
import numbers
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from enum import Enum
from itertools import islice
from typing import Any, Final

from azaion_jobs.logs._redaction import REDACTED, Redactor

_DEPTH: Final = 8
_ITEMS: Final = 100
_NAME_LENGTH: Final = 100
_INTEGER_BITS: Final = 64
# What an element costs beside its text: quotes, comma, brackets.
_ELEMENT_COST: Final = 4
# Texts are searched for secrets before they are cut, but not gigabytes of them.
_SEARCHED: Final = 65_536

_SPENT = "…"


class Plainer:
    """Makes one log record plain. `budget` is the number of characters that may come out, roughly."""

    def __init__(self, redactor: Redactor, budget: int) -> None:
        """Take a fresh one for each record: the budget is spent by use."""
        self._redactor = redactor
        self._left = budget
        self._path: set[int] = set()

    def context(self, value: object) -> dict[str, Any]:
        """The context of a record; what is no mapping is filed under `value`."""
        if not isinstance(value, Mapping):
            value = {"value": value}
        plain = self.value(value)
        return plain if isinstance(plain, dict) else {"value": plain}

    def text(self, text: str, *, limit: int, tail: bool = False) -> str:
        """The text without secrets, cut to `limit` characters: its head, or its tail."""
        searched = text
        if len(text) > _SEARCHED:
            searched = text[-_SEARCHED:] if tail else text[:_SEARCHED]
        clean = self._redactor.text(searched)
        cut = len(text) > _SEARCHED
        if cut:
            # A secret that was cut in two is not recognised: leave out where its half may stand.
            margin = self._redactor.longest
            clean = clean[margin:] if tail else clean[: max(0, len(clean) - margin)]
        # Lone surrogates have no UTF-8 form.
        clean = clean.encode("utf-8", "replace").decode()
        limit = max(0, min(limit, self._left))
        if len(clean) > limit:
            cut = True
            clean = clean[len(clean) - limit :] if tail else clean[:limit]
        self._left -= len(clean) + _ELEMENT_COST
        if not cut:
            return clean
        return _SPENT + clean if tail else clean + _SPENT

    def value(self, value: object) -> Any:  # noqa: ANN401 - what JSON can hold has no better type
        """The plain form of any object whatever."""
        try:
            return self._value(value)
        except Exception:  # noqa: BLE001 - somebody else's __repr__, __iter__ or __len__ may raise anything
            return f"<unreadable {_type_name(value)}>"

    def _value(self, value: object) -> Any:  # noqa: ANN401, PLR0911 - a table of types
        self._left -= _ELEMENT_COST
        if self._left <= 0:
            return _SPENT
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self.value(value.value)
        if isinstance(value, str):
            return self.text(str(value), limit=self._left)
        if isinstance(value, numbers.Number):
            return self._number(value)
        size = _byte_count(value)
        if size is not None:
            return f"<{size} bytes>"
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {value}", limit=self._left)
        return self._container(value)

    def _number(self, value: numbers.Number) -> Any:  # noqa: ANN401 - int, float or text
        number: int | float
        if isinstance(value, numbers.Integral):
            whole = int(value)
            if whole.bit_length() > _INTEGER_BITS:
                return f"<integer of {whole.bit_length()} bits>"
            number = whole
        elif isinstance(value, numbers.Real):
            number = float(value)
            if not math.isfinite(number):
                return str(number)
        else:
            return self.text(str(value), limit=self._left)
        self._left -= len(str(number))
        # A secret may consist of digits alone.
        return number if self._redactor.text(str(number)) == str(number) else REDACTED

    def _container(self, value: object) -> Any:  # noqa: ANN401 - dict, list or text
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            # Field by field, so that names of fields are looked at.
            value = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        if not isinstance(value, Mapping | list | tuple | set | frozenset):
            return self.text(repr(value), limit=self._left)
        if id(value) in self._path:
            return "<circular>"
        if len(self._path) >= _DEPTH:
            return f"<{_type_name(value)} of {len(value)}>"
        self._path.add(id(value))
        try:
            return self._mapping(value) if isinstance(value, Mapping) else self._items(value, len(value))
        finally:
            self._path.discard(id(value))

    def _mapping(self, mapping: Mapping[Any, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in islice(mapping.items(), _ITEMS):
            if self._left <= 0:
                break
            name = self._name(key)
            if isinstance(value, bool) or value is None or not self._redactor.is_secret_name(str(key)):
                plain[name] = self.value(value)
            else:
                plain[name] = REDACTED
        if len(mapping) > len(plain):
            plain[_SPENT] = f"{len(mapping) - len(plain)} more"
        return plain

    def _name(self, key: object) -> str:
        if isinstance(key, str):
            return self.text(key, limit=_NAME_LENGTH)
        return self.text(str(self.value(key)), limit=_NAME_LENGTH)

    def _items(self, items: Iterable[Any], count: int) -> list[Any]:
        plain = []
        for item in islice(items, _ITEMS):
            if self._left <= 0:
                break
            plain.append(self.value(item))
        if count > len(plain):
            plain.append(f"{_SPENT} {count - len(plain)} more")
        return plain


def _byte_count(value: object) -> int | None:
    """How many bytes the object holds, if it is made of bytes: bytes, arrays, images as arrays."""
    try:
        with memoryview(value) as view:  # type: ignore[arg-type]
            return view.nbytes
    except TypeError:
        return None


def _type_name(value: object) -> str:
    return type(value).__name__[:_NAME_LENGTH]
