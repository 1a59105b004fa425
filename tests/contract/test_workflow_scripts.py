"""The workflow's own scripts: the audit's verdict, the dated exceptions, the e-mail."""

import datetime as dt
import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / ".github/scripts"
TODAY = dt.date(2030, 1, 15)
SOON = dt.date(2030, 2, 1)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report() -> ModuleType:
    return load("audit_report")


def an_audit(**finding: object) -> dict[str, Any]:
    vulnerability = {
        "id": "PYSEC-1",
        "aliases": ["CVE-1"],
        "fix_versions": ["2.0"],
        "description": "bad",
    } | finding
    return {
        "dependencies": [
            {"name": "fine", "version": "1", "vulns": []},
            {"name": "poor", "version": "1.0", "vulns": [vulnerability]},
        ]
    }


def an_exception(**changes: object) -> dict[str, Any]:
    entry = {"id": "CVE-1", "statement": "never called", "expired_at": SOON} | changes
    return {"vulnerabilities": [{key: value for key, value in entry.items() if value is not None}]}


def test_every_known_vulnerability_blocks(report: ModuleType) -> None:
    sarif = report.sarif_report("operator", an_audit(), {})
    assert report.blocking(sarif) == ["poor 1.0 in the operator image has PYSEC-1, CVE-1; fixed in: 2.0."]
    assert sarif["runs"][0]["automationDetails"]["id"] == "pip-audit/operator/"
    assert sarif["runs"][0]["results"][0]["level"] == "error"


def test_an_exception_by_any_name_suppresses_and_is_still_reported(report: ModuleType) -> None:
    sarif = report.sarif_report("operator", an_audit(), report.active_exceptions(an_exception(), TODAY))
    assert report.blocking(sarif) == []
    (result,) = sarif["runs"][0]["results"]
    assert result["suppressions"][0]["justification"] == "never called"


def test_an_expired_exception_suppresses_nothing(report: ModuleType) -> None:
    expired = an_exception(expired_at=TODAY - dt.timedelta(days=1))
    assert report.active_exceptions(expired, TODAY) == {}


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ([], "must hold"),
        ({"anything": []}, "must hold"),
        ({"vulnerabilities": ["CVE-1"]}, "give the id"),
        (an_exception(statement=" "), "statement"),
        (an_exception(expired_at=None), "expired_at"),
        (an_exception(expired_at="2030-02-01"), "expired_at"),
        (an_exception(expired_at=TODAY - dt.timedelta(days=1)), "expired on"),
        (an_exception(expired_at=TODAY + dt.timedelta(days=181)), "180 days"),
    ],
)
def test_a_malformed_exception_gets_one_sentence(report: ModuleType, document: object, word: str) -> None:
    (problem,) = report.exception_problems(document, TODAY)
    assert word in problem


def test_a_good_exception_has_no_problem(report: ModuleType) -> None:
    assert report.exception_problems(an_exception(), TODAY) == []
    assert report.exception_problems({"vulnerabilities": []}, TODAY) == []


def test_our_exceptions_are_good_today(report: ModuleType) -> None:
    """Fails on the day after an exception ends: then somebody has to look again."""
    document = yaml.safe_load((ROOT / ".trivyignore.yaml").read_text(encoding="utf-8"))
    assert report.exception_problems(document, dt.datetime.now(tz=dt.UTC).date()) == []


@pytest.mark.parametrize(
    ("audit", "exceptions", "code"),
    [
        ({"dependencies": []}, "vulnerabilities: []", 0),
        (an_audit(), "vulnerabilities: []", 1),
        (an_audit(), "vulnerabilities: [{id: CVE-1}]", 2),
        (
            {"dependencies": [{"name": "lost", "skip_reason": "lost could not be audited"}]},
            "vulnerabilities: []",
            2,
        ),
    ],
)
def test_exit_codes(
    report: ModuleType, tmp_path: Path, audit: dict[str, Any], exceptions: str, code: int
) -> None:
    (tmp_path / "audit.json").write_text(json.dumps(audit), encoding="utf-8")
    (tmp_path / "exceptions.yaml").write_text(exceptions, encoding="utf-8")
    files = [tmp_path / name for name in ("audit.json", "exceptions.yaml", "out.sarif")]
    assert report.main("operator", *files) == code


def test_required_settings_are_named_all_at_once() -> None:
    script = SCRIPTS / "require-settings.sh"
    done = subprocess.run(
        [script, "PRESENT", "EMPTY", "ABSENT"],
        env={"PRESENT": "x", "EMPTY": "", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "EMPTY ABSENT" in done.stdout
    assert "PRESENT" not in done.stdout


def test_the_mail_carries_what_it_is_given() -> None:
    message = load("send_mail").compose(
        "it failed", "last lines", {"MAIL_FROM": "ci@example.org", "MAIL_TO": "a@example.org"}
    )
    assert message["Subject"] == "it failed"
    assert message["To"] == "a@example.org"
    assert message.get_content() == "last lines\n"


@pytest.mark.parametrize("url", ["mail.example.org:25", "http://mail.example.org", "smtps://"])
def test_mail_never_goes_out_over_an_address_it_does_not_know(url: str) -> None:
    with pytest.raises(SystemExit, match="SMTP_URL must read"):
        load("send_mail").connect(url)
