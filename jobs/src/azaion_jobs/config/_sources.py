"""Where settings come from: config.yaml, environment variables and mounted secrets.

Every reader returns what it could read and adds a sentence to `problems` for what it could not, so that one
attempt shows all there is to mend. The sentences never repeat what a file or variable holds.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from azaion_jobs.config._variables import VARIABLES, Kind, Variable

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Found:
    """The value of one setting and where it was found."""

    variable: Variable
    value: str | int
    origin: str


class _RepeatedKeyError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Loader(yaml.SafeLoader):
    """SafeLoader, but a key that stands twice is refused: which of the two was meant?"""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False  # noqa: FBT001, FBT002 - PyYAML's signature
    ) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            identity = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            if identity in seen:
                raise _RepeatedKeyError(key.start_mark.line + 1)
            seen.add(identity)
        return super().construct_mapping(node, deep=deep)


def read_document(path: Path, problems: list[str], *, required: bool) -> dict[Any, Any]:
    """Read config.yaml; a setting without a value (`email:`) counts as not set."""
    try:
        # Safe: a SafeLoader that refuses more.
        document = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506
    except FileNotFoundError:
        if required:
            problems.append(
                f"{path} does not exist; mount or create it, or let AZAION_CONFIG name another file."
            )
        return {}
    except (OSError, _RepeatedKeyError, yaml.YAMLError, ValueError, RecursionError) as error:
        problems.append(f"{path} {_complaint(error)}")
        return {}
    if document is None:
        return {}
    if not isinstance(document, dict):
        problems.append(f"{path} must consist of sections such as 'training:' with settings below them.")
        return {}
    return _without_nulls(document)


def read_variables(environ: Mapping[str, str], problems: list[str]) -> Iterator[Found]:
    """Read the variables; an empty one counts as not set."""
    for variable in VARIABLES:
        text = environ.get(variable.name, "")
        if not text:
            continue
        if variable.kind is Kind.TEXT:
            yield Found(variable, text, f"the variable {variable.name}")
        elif _WHOLE_NUMBER.fullmatch(text.strip()):
            yield Found(variable, int(text), f"the variable {variable.name}")
        else:
            problems.append(
                f"{variable.setting} must be a whole number; correct it in the variable {variable.name}."
            )


def read_secrets(directory: Path, problems: list[str]) -> Iterator[Found]:
    """Read the mounted secrets; the line feed that editors leave at the end is no part of a secret."""
    for variable in VARIABLES:
        if not variable.is_secret:
            continue
        path = directory / variable.mounted_as
        try:
            text = path.read_bytes().decode().rstrip("\r\n")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            problems.append(
                f"{variable.setting} cannot be read from {path} ({error.strerror}); make it a readable file."
            )
            continue
        except UnicodeDecodeError:
            problems.append(f"{variable.setting} in {path} is not UTF-8 text; write the secret anew.")
            continue
        if text:
            yield Found(variable, text, str(path))


def put(document: dict[Any, Any], found: Found) -> bool:
    """Let `found` win over what the document says; False where the document has no place for it.

    That is so where something other than a section stands in the way, which validation will report.
    """
    section: Any = document
    for part in found.variable.path[:-1]:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            return False
    section[found.variable.path[-1]] = found.value
    return True


def _complaint(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror}); make it a readable file."
    if isinstance(error, _RepeatedKeyError):
        return f"has the same key twice, again in line {error.line}; remove one of them."
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"is not valid YAML near line {mark.line + 1}, column {mark.column + 1}; correct it."
    return "is not valid YAML in UTF-8; correct it."


def _without_nulls(document: dict[Any, Any]) -> dict[Any, Any]:
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in document.items()
        if value is not None
    }
