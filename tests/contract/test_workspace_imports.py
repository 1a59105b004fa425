"""Who may import what. import-linter keeps the layers; here stands proof that it would bite."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.repository import ROOT, modules, toml

CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in toml(ROOT / "pyproject.toml")["tool"]["importlinter"]["contracts"]
}

SKELETON = (
    "azaion_operator/__init__.py",
    "azaion_jobs/__init__.py",
    "azaion_jobs/contract.py",
    "azaion_jobs/config.py",
    "azaion_jobs/logs.py",
    "azaion_jobs/tree.py",
    "azaion_devcluster/__init__.py",
)

# Contract, a module that breaks it, what it says.
VIOLATIONS = [
    ("operator-layers", "azaion_operator/api.py", "import azaion_operator.app"),
    ("operator-layers", "azaion_operator/domain.py", "from azaion_operator import cluster"),
    ("operator-layers", "azaion_operator/errors.py", "def f():\n    import azaion_operator.api"),
    ("jobs-layers", "azaion_jobs/config.py", "import azaion_jobs.training"),
    ("jobs-layers", "azaion_jobs/training.py", "import azaion_jobs.release"),
    ("jobs-layers", "azaion_jobs/contract.py", "import azaion_jobs.tree"),
    ("packages", "azaion_operator/domain.py", "from azaion_jobs import training"),
    ("packages", "azaion_operator/app.py", "import azaion_devcluster"),
    ("jobs-alone", "azaion_jobs/training.py", "import azaion_operator"),
    ("devcluster-alone", "azaion_devcluster/cli.py", "import azaion_jobs.contract"),
    ("kopf", "azaion_operator/domain.py", "import kopf"),
    ("kopf", "azaion_jobs/training.py", "from kopf import on"),
    ("kubernetes", "azaion_operator/handlers.py", "from kubernetes.client import ApiClient"),
    ("kubernetes", "azaion_jobs/training.py", "import kubernetes"),
    ("torch", "azaion_jobs/supervisor.py", "import torch.nn"),
    ("torch", "azaion_jobs/training.py", "from ultralytics import YOLO"),
    ("rstream", "azaion_jobs/training.py", "import rstream"),
    ("light", "azaion_jobs/contract.py", "import pydantic"),
    ("light", "azaion_jobs/logs.py", "import azaion_jobs.training"),
]

# What is forbidden elsewhere and right here.
ALLOWED = {
    "azaion_operator/__main__.py": "import azaion_operator.app",
    "azaion_operator/app.py": "import kopf, azaion_jobs.logs\nfrom azaion_operator import cluster, handlers",
    "azaion_operator/handlers/__init__.py": "import kopf",
    "azaion_operator/handlers/runs.py": "import kopf, azaion_jobs.contract\nfrom azaion_jobs import config",
    "azaion_operator/cluster/client.py": "import kubernetes",
    "azaion_jobs/annotations/consumer.py": "import rstream",
    "azaion_jobs/training/__init__.py": "",
    "azaion_jobs/training/trainer.py": "import torch, ultralytics, azaion_jobs.config, azaion_jobs.delivery",
    "azaion_jobs/release/export.py": "import torch, azaion_jobs.training",
    "azaion_jobs/monitor/agent.py": "import kubernetes, azaion_jobs.annotations.consumer",
}


def lint(folder: Path, files: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    for name in SKELETON:
        add(folder, name, "")
    # Whatever a layer is compared with has to be there.
    for name in ("app", "cluster", "api"):
        if not {f"azaion_operator/{name}.py", f"azaion_operator/{name}/client.py"} & set(files):
            add(folder, f"azaion_operator/{name}.py", "")
    for name in ("training", "release"):
        if not any(file.startswith(f"azaion_jobs/{name}") for file in files):
            add(folder, f"azaion_jobs/{name}.py", "")
    for name, source in files.items():
        add(folder, name, source)
    return subprocess.run(
        [
            *(
                sys.executable,
                "-c",
                "from importlinter.cli import lint_imports_command; lint_imports_command()",
            ),
            *("--config", str(ROOT / "pyproject.toml"), "--no-cache", *arguments),
        ],
        cwd=folder,
        env={"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def add(folder: Path, name: str, source: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    init = path.parent / "__init__.py"
    init.touch()
    path.write_text(source + "\n")


@pytest.mark.parametrize(("contract", "module", "source"), VIOLATIONS)
def test_each_contract_bites(tmp_path: Path, contract: str, module: str, source: str) -> None:
    files = {module: source}
    if source.endswith(("azaion_jobs.training", "import training")) and "light" in contract:
        files["azaion_jobs/training.py"] = "import yaml"
    result = lint(tmp_path, files, "--contract", contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{CONTRACTS[contract]} BROKEN" in result.stdout
    assert "Contracts: 0 kept, 1 broken." in result.stdout


def test_every_contract_is_proved_to_bite() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == set(CONTRACTS)


def test_what_is_meant_to_be_allowed_is(tmp_path: Path) -> None:
    result = lint(tmp_path, ALLOWED)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in result.stdout


# Modules that promise more than import-linter can say: nothing from outside but what is listed, and of our
# own modules only those that promise the same. They need not exist yet.
SPARE = {
    "azaion_jobs.contract": (),
    "azaion_jobs.tree": (),
    "azaion_jobs.logs": (),
    # What a supervisor reads of a dataset.
    "azaion_jobs.dataset.manifest": (),
    # All of it but the trainer: what watches a training must not load what trains.
    "azaion_jobs.training": ("prometheus_client",),
}

HEAVY = "azaion_jobs.training.trainer"

# No I/O, no clock, no cluster: what these decide follows from their arguments alone.
PURE = ("azaion_operator.domain", "azaion_operator.manifests", "azaion_operator.api")
IMPURE = frozenset(
    {
        *(
            "kopf",
            "kubernetes",
            "aiohttp",
            "requests",
            "yaml",
            "asyncio",
            "socket",
            "subprocess",
            "threading",
        ),
        *("os", "io", "time", "random", "shutil", "tempfile", "urllib", "http", "logging", "signal"),
    }
)


def imports(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def belongs(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_spare_modules_need_the_standard_library_alone() -> None:
    checked = set()
    for name, module in modules("azaion-jobs"):
        for package, extra in SPARE.items():
            if not belongs(name, package) or belongs(name, HEAVY):
                continue
            checked.add(package)
            for imported in imports(module):
                top = imported.partition(".")[0]
                is_spare = any(belongs(imported, other) for other in SPARE) and not belongs(imported, HEAVY)
                assert (
                    top in sys.stdlib_module_names or top in extra or is_spare
                ), f"{name} imports {imported}"
    assert checked >= {"azaion_jobs.contract", "azaion_jobs.tree", "azaion_jobs.logs"}


def test_pure_modules_import_nothing_that_acts() -> None:
    for name, module in modules("azaion-operator"):
        if any(belongs(name, package) for package in PURE):
            acting = {imported for imported in imports(module) if imported.partition(".")[0] in IMPURE}
            assert acting == set(), name


@pytest.mark.parametrize("name", ["azaion_jobs.contract", "azaion_jobs.logs", "azaion_jobs.tree"])
def test_spare_modules_load_nothing_else_when_imported(name: str) -> None:
    code = (
        f"import sys, {name}\n"
        "ours = {'azaion_jobs'} | sys.stdlib_module_names\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules} - ours - {'__main__'} - set(sys.argv[1:])))"
    )
    # What site-packages puts into every process by .pth files is not the module's doing.
    before = subprocess.run(
        [sys.executable, "-c", "import sys; print(*{m.partition('.')[0] for m in sys.modules})"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    result = subprocess.run(
        [sys.executable, "-c", code, *before], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.split() == []
