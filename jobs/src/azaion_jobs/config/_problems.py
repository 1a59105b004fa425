"""Sentences for people, made from what pydantic found."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from azaion_jobs.config._variables import BY_PATH

_SHOWN_KEY = 60

_RULES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text; put it in quotes if it looks like a number or a date",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "model_type": "must be a section with settings below it",
    "tuple_type": "must be a list",
    "too_short": "must have at least one entry",
}


def sentences(
    error: ValidationError, model: type[BaseModel], origins: Mapping[tuple[str, ...], str]
) -> list[str]:
    """One sentence for each thing that validation refused.

    `origins` says where each setting came from; settings it does not know came from the file under `()`.
    """
    return [
        _sentence(details, model, origins)
        for details in error.errors(include_url=False, include_context=True, include_input=True)
    ]


def _sentence(details: ErrorDetails, model: type[BaseModel], origins: Mapping[tuple[str, ...], str]) -> str:
    path = tuple(str(part) for part in details["loc"])
    setting = ".".join(_shown(part) for part in path)
    variable = BY_PATH.get(path)
    place = origins.get(path, origins[()])
    if details["type"] in ("extra_forbidden", "invalid_key"):
        return f"{setting} is not a known setting; {_advice(path, model)} in {place}."
    name = f"{setting} ({variable.name})" if variable else setting
    number = "" if variable and variable.is_secret else _number(details["input"])
    return f"{name}{number} {_rule(details)}; correct it in {place}."


def _rule(details: ErrorDetails) -> str:
    rule = _RULES.get(details["type"])
    # What is not in the table is one of our own rules, whose message is the rule.
    return details["msg"] if rule is None else rule.format(**details.get("ctx", {}))


def _number(value: object) -> str:
    # Only numbers are repeated: a text may be a secret that got into the wrong place.
    return f" is {value:g} but" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _advice(path: tuple[str, ...], model: type[BaseModel]) -> str:
    known = _names_in(path[:-1], model)
    close = difflib.get_close_matches(path[-1], known, n=1)
    return f"write {close[0]} instead" if close else f"remove it or use one of {', '.join(known)}"


def _names_in(section: tuple[str, ...], model: type[BaseModel]) -> list[str]:
    for part in section:
        found: Any = next(field.annotation for field in model.model_fields.values() if field.alias == part)
        model = found
    return [str(field.alias) for field in model.model_fields.values()]


def _shown(part: str) -> str:
    shown = part if part.isprintable() else ascii(part)
    return shown if len(shown) <= _SHOWN_KEY else f"{shown[:_SHOWN_KEY]}…"
