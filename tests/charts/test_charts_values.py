"""Values: described, used, checked, and shown in the README as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CHARTS = Path(__file__).resolve().parents[2] / "charts"
NAMES = ["azaion-crds", "azaion-training"]


def described_values(chart: str) -> dict[str, tuple[Any, str]]:
    """Return every value with its default and its `# -- ` comment; fails on a value without one."""
    values = yaml.safe_load((CHARTS / chart / "values.yaml").read_text(encoding="utf-8"))
    found: dict[str, tuple[Any, str]] = {}
    path: list[tuple[int, str]] = []
    comment = ""
    for line in (CHARTS / chart / "values.yaml").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\s*# -- (.+)", line):
            comment = match[1]
            continue
        if not line.strip():
            continue
        match = re.match(r"( *)(\w+):", line)
        assert match, f"{chart}: this line is neither a value nor its description: {line!r}"
        path = [part for part in path if part[0] < len(match[1])] + [(len(match[1]), match[2])]
        key = ".".join(name for _, name in path)
        if comment:
            found[key] = (_value(values, key), comment)
        comment = ""
    for key in _leaves(values):
        owner = next((known for known in found if key == known or key.startswith(f"{known}.")), None)
        assert owner, f"{chart}: the value {key} has no '# -- ' comment"
    return found


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _leaves(values: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        leaf
        for key, value in values.items()
        for leaf in (_leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"])
    ]


@pytest.mark.parametrize("chart", NAMES)
def test_every_value_is_used_by_a_template(chart: str) -> None:
    templates = "".join(
        file.read_text(encoding="utf-8")
        for file in (CHARTS / chart / "templates").rglob("*")
        if file.is_file()
    )
    used = re.findall(r"\.Values\.([\w.]+)", templates)
    for key in described_values(chart):
        parents = [".".join(key.split(".")[:length]) for length in range(1, key.count(".") + 2)]
        if "image" in key.split("."):
            # An image is handed over whole to one helper, which names its parts.
            assert ".".join(key.split(".")[:-1]) in used
            assert f".image.{key.rsplit('.', 1)[1]}" in templates, f"{chart}: {key} is used nowhere"
        else:
            assert set(parents) & set(used), f"{chart}: {key} is used nowhere"


@pytest.mark.parametrize("chart", NAMES)
def test_the_readme_shows_the_values_as_they_are(chart: str) -> None:
    rows = [
        f"| `{key}` | `{json.dumps(default)}` | {text} |"
        for key, (default, text) in described_values(chart).items()
    ]
    shown = (CHARTS / chart / "README.md").read_text(encoding="utf-8").split("## Values\n")[1].splitlines()

    assert [line for line in shown if line.startswith("| `")] == rows


@pytest.mark.parametrize("chart", NAMES)
def test_the_schema_is_closed_and_knows_every_value(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text(encoding="utf-8"))

    def declared(node: dict[str, Any], prefix: str = "") -> set[str]:
        found = set()
        for name, child in node.get("properties", {}).items():
            if prefix == "" and name == "global":
                continue
            assert child.get("type") != "object" or "additionalProperties" in child, f"{prefix}{name} is open"
            found |= {f"{prefix}{name}"} | declared(child, f"{prefix}{name}.")
        return found

    assert schema["additionalProperties"] is False
    assert set(described_values(chart)) <= declared(schema)


@pytest.mark.parametrize("chart", NAMES)
@pytest.mark.parametrize("value", ["unknown=1", "operatr.logLevel=INFO"])
def test_an_unknown_value_is_refused_by_name(helm: Any, chart: str, value: str) -> None:
    result = helm("template", "release", str(CHARTS / chart), "--set", value)

    assert result.returncode != 0
    assert value.split("=", maxsplit=1)[0].split(".", maxsplit=1)[0] in result.stderr


@pytest.mark.parametrize(
    "value",
    [
        "operator.logLevel=LOUD",
        "operator.resyncSeconds=0",
        "operator.image.digest=sha256:abc",
        "operator.image.repository=",
        "operator.image.pullPolicy=Sometimes",
        "operator.image.unknown=1",
        "operator.resources.limit.memory=1Gi",
        "imagePullSecrets[0]=name",
    ],
)
def test_a_value_that_cannot_be_used_is_refused(helm: Any, value: str) -> None:
    result = helm("template", "release", str(CHARTS / "azaion-training"), "--set", value)

    assert result.returncode != 0
    assert "values don't meet the specifications" in result.stderr


@pytest.mark.parametrize("chart", NAMES)
def test_helm_finds_nothing_to_complain_about(helm: Any, chart: str) -> None:
    result = helm("lint", "--strict", str(CHARTS / chart))

    assert result.returncode == 0, result.stdout
    assert "[WARNING]" not in result.stdout
    assert "[ERROR]" not in result.stdout
