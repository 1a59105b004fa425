"""The kinds as declared, as typed in the operator, and as shown in the example are the same."""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from azaion_operator.api import (
    GROUP,
    TRAINING_RUNS,
    VERSION,
    ConditionStatus,
    ConditionType,
    Phase,
    TrainingRunSpec,
    TrainingRunStatus,
)
from azaion_operator.api.conditions import Condition
from azaion_operator.api.training_run import Display

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "crds").glob("*.yaml"))
EXAMPLE = ROOT / "crds" / "examples" / "trainingrun.yaml"

JSON_TYPES = {str: "string", int: "integer", bool: "boolean"}


def a_crd(plural: str) -> dict[str, Any]:
    crd: dict[str, Any] = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text(encoding="utf-8"))
    return crd


def schema_of(plural: str) -> dict[str, Any]:
    (version,) = a_crd(plural)["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


RUN = schema_of("trainingruns")["properties"]


def fields(path: str, schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every field below a schema with its path."""
    found = {}
    for name, field in schema.get("properties", {}).items():
        found[f"{path}.{name}"] = field
        found |= fields(f"{path}.{name}", field)
    if "items" in schema:
        found |= fields(f"{path}[]", schema["items"])
    return found


def test_there_are_the_three_kinds() -> None:
    assert {file.stem for file in FILES} == {"modelreleases", "trainingnodes", "trainingruns"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_kind_is_named_as_all_of_them_are(file: Path) -> None:
    crd = yaml.safe_load(file.read_text(encoding="utf-8"))
    spec = crd["spec"]
    (version,) = spec["versions"]

    assert spec["group"] == GROUP
    assert crd["metadata"]["name"] == f"{file.stem}.{GROUP}"
    assert spec["names"]["plural"] == file.stem
    assert spec["names"]["categories"] == ["azaion"]
    assert version["name"] == VERSION
    assert (version["served"], version["storage"], version["subresources"]) == (True, True, {"status": {}})
    assert [column["name"] for column in version["additionalPrinterColumns"]][-1] == "AGE"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_field_is_described_and_bounded(file: Path) -> None:
    properties = schema_of(file.stem)["properties"]
    described = {
        path: field
        for part in ("spec", "status")
        if part in properties
        for path, field in {part: properties[part], **fields(part, properties[part])}.items()
    }
    assert described
    for path, field in described.items():
        assert field.get("description", "").strip().endswith("."), f"{path} has no description"
        if field["type"] == "string":
            assert {"maxLength", "enum", "format"} & set(field), f"{path} is unbounded"
        if field["type"] == "array":
            assert "maxItems" in field, f"{path} is unbounded"
        if field["type"] == "integer":
            assert "minimum" in field, f"{path} is unbounded"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_conditions_are_a_map_by_type(file: Path) -> None:
    conditions = schema_of(file.stem)["properties"]["status"]["properties"]["conditions"]

    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert conditions["items"]["properties"]["status"]["enum"] == [str(status) for status in ConditionStatus]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_columns_show_fields_that_exist(file: Path) -> None:
    properties = schema_of(file.stem)["properties"]
    known = {f".{path}" for part in ("spec", "status") for path in fields(part, properties.get(part, {}))}
    (version,) = a_crd(file.stem)["spec"]["versions"]
    for column in version["additionalPrinterColumns"]:
        path = re.sub(r"\[\?\(.*?\)\]", "[]", column["jsonPath"])
        assert path in known | {".metadata.creationTimestamp"}, column


def test_the_columns_of_a_run() -> None:
    (version,) = a_crd("trainingruns")["spec"]["versions"]

    assert [column["name"] for column in version["additionalPrinterColumns"]] == [
        "PHASE",
        "EPOCH",
        "PROGRESS",
        "ETA",
        "AGE",
    ]
    assert a_crd("trainingruns")["spec"]["names"]["shortNames"] == ["trun"]
    assert a_crd("trainingruns")["spec"]["names"]["kind"] == TRAINING_RUNS.kind
    assert a_crd("trainingruns")["metadata"]["name"] == TRAINING_RUNS.crd_name


VIEWS = [
    (TrainingRunSpec, RUN["spec"]),
    (TrainingRunStatus, RUN["status"]),
    (Display, RUN["status"]["properties"]["display"]),
    (Condition, RUN["status"]["properties"]["conditions"]["items"]),
]


@pytest.mark.parametrize(("view", "schema"), VIEWS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_typed_view_has_the_fields_of_the_kind(view: type[BaseModel], schema: dict[str, Any]) -> None:
    typed = {str(field.alias): field for field in view.model_fields.values()}

    assert set(typed) == set(schema["properties"])
    for name, field in typed.items():
        expected = JSON_TYPES.get(_bare(field.annotation))
        if expected is not None:
            assert schema["properties"][name]["type"] == expected, name


@pytest.mark.parametrize(("view", "schema"), VIEWS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_typed_view_has_the_defaults_of_the_kind(view: type[BaseModel], schema: dict[str, Any]) -> None:
    declared = {name: field["default"] for name, field in schema["properties"].items() if "default" in field}
    typed = {
        str(field.alias): field.default
        for field in view.model_fields.values()
        if not field.is_required() and field.default not in (None, (), "")
    }

    assert typed == declared


def test_required_fields_agree() -> None:
    required = {str(field.alias) for field in Condition.model_fields.values() if field.is_required()}

    assert required == set(VIEWS[3][1]["required"])


def _bare(annotation: Any) -> Any:
    """Return the type without its `| None`."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (part for part in typing.get_args(annotation) if part is not type(None))
    return annotation


def test_the_texts_of_the_kind_name_all_phases_and_conditions() -> None:
    status = RUN["status"]["properties"]

    for phase in Phase:
        assert re.search(rf"\b{phase}\b", status["phase"]["description"])
    for condition in ConditionType:
        assert re.search(rf"\b{condition}\b", status["conditions"]["description"])


def test_the_example_spells_out_every_field_with_a_comment() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    example = yaml.safe_load(text)
    lines = text.split("\nspec:\n")[1].splitlines()

    assert list(example["spec"]) == list(RUN["spec"]["properties"])
    assert all(re.fullmatch(r" +\w+: \S+ # \S.*", line) for line in lines), lines
    assert len(example["metadata"]["name"]) <= 40
    assert (example["apiVersion"], example["kind"]) == (TRAINING_RUNS.api_version, TRAINING_RUNS.kind)


def test_the_example_is_valid() -> None:
    example = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))

    jsonschema.validate(example["spec"], {**RUN["spec"], "additionalProperties": False})
    assert example["spec"]["imageSize"] % 32 == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "../yolo26m.pt"),
        ("model", "yolo26m"),
        ("epochs", 0),
        ("batchSize", 0),
        ("imageSize", 16),
        ("savePeriod", 0),
        ("workers", -1),
        ("seed", -1),
        ("gpus", -1),
        ("priority", 1001),
        ("priority", -1001),
        ("preempt", "yes"),
        ("suspend", 1),
    ],
)
def test_values_out_of_bounds_are_refused(field: str, value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({field: value}, RUN["spec"])


def test_the_rules_that_a_schema_cannot_say_stand_where_they_are_checked() -> None:
    (name_rule,) = schema_of("trainingruns")["x-kubernetes-validations"]
    (size_rule,) = RUN["spec"]["properties"]["imageSize"]["x-kubernetes-validations"]

    assert name_rule["rule"] == "self.metadata.name.size() <= 40"
    assert "40 characters" in name_rule["message"]
    assert size_rule["rule"] == "self % 32 == 0"
    assert "multiple of 32" in size_rule["message"]
