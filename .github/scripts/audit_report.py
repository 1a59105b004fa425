"""Turn pip-audit's JSON into SARIF and decide whether it blocks.

    audit_report.py IMAGE AUDIT.json EXCEPTIONS.yaml OUTPUT.sarif

pip-audit knows no severities, so every known vulnerability blocks, unless .trivyignore.yaml excepts it by
one of its names until a day that has not passed. An excepted one is reported all the same, as suppressed.
Exit code: 0 nothing blocks, 1 something does, 2 the exceptions are malformed or a package was not audited
(the index not reached, say), since a list that nobody looked at is not a clean one.
"""

import datetime as dt
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SECTIONS = {"vulnerabilities", "secrets", "misconfigurations"}
LONGEST_EXCEPTION = dt.timedelta(days=180)
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def exception_problems(document: object, today: dt.date) -> list[str]:
    """What is wrong with the exceptions, one sentence each; none for a good file.

    A good entry has an id, a statement that says why it can be borne, and a day (expired_at) on which
    someone has to look again: not past, and not further away than 180 days.
    """
    if not isinstance(document, Mapping) or not set(document) <= SECTIONS:
        return ["The file must hold lists named vulnerabilities, secrets or misconfigurations, nothing else."]
    problems = []
    for section, entries in document.items():
        for number, entry in enumerate(entries or [], start=1):
            where = f"{section}, entry {number}"
            if not isinstance(entry, Mapping) or not entry.get("id"):
                problems.append(f"{where}: give the id of the finding.")
                continue
            where += f" ({entry['id']})"
            if not str(entry.get("statement") or "").strip():
                problems.append(f"{where}: say in 'statement' why this can be borne.")
            expiry = entry.get("expired_at")
            if not isinstance(expiry, dt.date):
                problems.append(f"{where}: give 'expired_at' as a day, like 2030-01-31.")
            elif expiry < today:
                problems.append(f"{where}: it expired on {expiry}; update the dependency, or decide again.")
            elif expiry > today + LONGEST_EXCEPTION:
                problems.append(
                    f"{where}: it may last {LONGEST_EXCEPTION.days} days at most, not until {expiry}."
                )
    return problems


def active_exceptions(document: Mapping[str, Any], today: dt.date) -> dict[str, str]:
    """Identifiers that are excepted today, with their statements."""
    entries = document.get("vulnerabilities") or []
    return {entry["id"]: entry["statement"] for entry in entries if entry["expired_at"] >= today}


def sarif_report(image: str, audit: Mapping[str, Any], exceptions: Mapping[str, str]) -> dict[str, Any]:
    """One SARIF run; its category carries the image, so that four reports stand beside each other."""
    rules: dict[str, dict[str, Any]] = {}
    results = []
    for package in audit["dependencies"]:
        for finding in package.get("vulns", []):
            identifier = finding["id"]
            names = [identifier, *finding.get("aliases", [])]
            rules.setdefault(
                identifier,
                {
                    "id": identifier,
                    "shortDescription": {"text": f"{identifier} in {package['name']}"},
                    "fullDescription": {"text": finding.get("description") or identifier},
                    "helpUri": f"https://osv.dev/vulnerability/{identifier}",
                },
            )
            fixed = ", ".join(finding.get("fix_versions", [])) or "no version yet"
            which = f"{package['name']} {package['version']} in the {image} image"
            text = f"{which} has {', '.join(names)}; fixed in: {fixed}."
            result: dict[str, Any] = {
                "ruleId": identifier,
                "level": "error",
                "message": {"text": text},
                "locations": [
                    {"physicalLocation": {"artifactLocation": {"uri": "uv.lock"}, "region": {"startLine": 1}}}
                ],
                "partialFingerprints": {"finding/v1": f"{image}/{package['name']}/{identifier}"},
            }
            statement = next((exceptions[name] for name in names if name in exceptions), None)
            if statement is not None:
                result |= {
                    "level": "note",
                    "suppressions": [{"kind": "external", "justification": statement}],
                }
            results.append(result)
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "pip-audit", "rules": list(rules.values())}},
                "automationDetails": {"id": f"pip-audit/{image}/"},
                "results": results,
            }
        ],
    }


def blocking(report: Mapping[str, Any]) -> list[str]:
    """The texts of the findings that no exception covers."""
    return [
        result["message"]["text"] for result in report["runs"][0]["results"] if "suppressions" not in result
    ]


def unaudited(audit: Mapping[str, Any]) -> list[str]:
    """Why packages were left out, a sentence each."""
    return [package["skip_reason"] for package in audit["dependencies"] if "skip_reason" in package]


def main(image: str, audit: Path, exceptions: Path, output: Path) -> int:
    today = dt.datetime.now(tz=dt.UTC).date()
    document = yaml.safe_load(exceptions.read_text(encoding="utf-8"))
    # An exception that has only expired stops counting; it is for the contract tests to complain about it.
    problems = [problem for problem in exception_problems(document, today) if "it expired on" not in problem]
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
        return 2
    audited = json.loads(audit.read_text(encoding="utf-8"))
    if reasons := unaudited(audited):
        print(*reasons, sep="\n", file=sys.stderr)
        return 2
    report = sarif_report(image, audited, active_exceptions(document, today))
    output.write_text(json.dumps(report, indent=2), encoding="utf-8")
    for text in (found := blocking(report)):
        print(f"::error::{text}")
    return 1 if found else 0


if __name__ == "__main__":
    name, *paths = sys.argv[1:]
    sys.exit(main(name, *map(Path, paths)))
