"""The command line, run as the containers run it where the process itself matters."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from azaion_jobs import __main__ as entry
from azaion_jobs.commands import self_check
from azaion_jobs.contract import ExitCode


def run(*arguments: str, code: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """`python -m azaion_jobs`, or `code` in its place, with no variable of the machine's but for coverage."""
    command = [sys.executable, *(("-c", code) if code else ("-m", "azaion_jobs")), *arguments]
    measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return subprocess.run(
        command, env=environ | measured, capture_output=True, text=True, check=False, timeout=60
    )


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv[0] = 'azaion_jobs'\n"
        "try: runpy.run_module('azaion_jobs', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'ultralytics', 'numpy', 'pydantic', 'yaml', 'kubernetes'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    result = run("--help", code=code)
    assert (result.returncode, result.stderr) == (0, "")
    for command in entry.COMMANDS:
        assert command.words[0] in result.stdout


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["self-check"], ["self-check", "gpu"], ["config"]])
def test_a_wrong_command_line_is_a_wrong_spec(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        entry.main(arguments)
    assert left.value.code == ExitCode.BAD_SPEC
    assert "usage: python -m azaion_jobs" in capsys.readouterr().err


def test_a_fault_of_ours_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("azaion_jobs.config.Config.load", fail)
    assert entry.main(["config", "check"]) == ExitCode.INTERNAL_ERROR
    assert "surprise" in caplog.text


def test_config_check_says_ok(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("training: {epochs: 3}")
    for result in (
        run("config", "check", "--file", str(file)),
        run("config", "check", AZAION_CONFIG=str(file)),
    ):
        assert (result.returncode, result.stdout, result.stderr) == (0, "OK\n", "")


def test_config_check_lists_the_problems(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("training: {epochs: 0}\nqueue: {password: 12345}")
    result = run("config", "check", "--file", str(file), TRAINING_WORKERS="x")
    assert (result.returncode, result.stdout) == (ExitCode.BAD_SPEC, "")
    assert len(result.stderr.splitlines()) == 4
    assert "12345" not in result.stderr


def test_self_check_logs_the_versions_on_one_line() -> None:
    result = run("self-check", "base")
    assert result.returncode == ExitCode.DONE
    (line,) = map(json.loads, result.stdout.splitlines())
    assert (line["level"], line["message"]) == ("INFO", "The base image holds what it needs")
    assert set(line["context"]["versions"]) == {"azaion-jobs", *self_check.BASE}


@pytest.mark.parametrize(
    ("role", "missing"),
    [("queue", "rstream"), ("train", "torchvision"), ("monitor", "pynvml"), ("base", "yaml")],
)
def test_self_check_names_what_is_missing(role: str, missing: str) -> None:
    # None in sys.modules tells Python that a module is not to be found. The heavy ones are stood in for.
    code = (
        "import sys, types\n"
        "for name in ('torch', 'ultralytics', 'albumentations', 'onnx', 'onnxruntime', 'onnxslim', 'cv2'):\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        f"sys.modules[{missing!r}] = None\n"
        "from azaion_jobs.__main__ import main\n"
        "sys.exit(main())\n"
    )
    result = run("self-check", role, code=code)
    assert result.returncode == ExitCode.INTERNAL_ERROR
    (line,) = map(json.loads, result.stdout.splitlines())
    assert line["level"] == "ERROR"
    assert line["message"] == f"The module {missing} is missing; install it into this image."


def test_self_check_wants_the_operators_of_torchvision() -> None:
    code = (
        "import sys, types\n"
        "for name in ('torch', 'torchvision', 'torchvision.extension', 'ultralytics', 'albumentations',\n"
        "             'onnx', 'onnxruntime', 'onnxslim', 'cv2'):\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        "sys.modules['torchvision.extension']._has_ops = lambda: False\n"
        "print('greetings of a library')\n"
        "from azaion_jobs.__main__ import main\n"
        "sys.exit(main())\n"
    )
    result = run("self-check", "train", code=code)
    assert result.returncode == ExitCode.INTERNAL_ERROR
    line = json.loads(result.stdout.splitlines()[-1])
    assert line["message"].startswith("torchvision lacks its compiled operators;")


def test_what_libraries_print_stays_off_stdout() -> None:
    code = (
        "import sys, types, importlib\n"
        "real = importlib.import_module\n"
        "def loud(name): print('greetings of', name); return real(name)\n"
        "importlib.import_module = loud\n"
        "from azaion_jobs.__main__ import main\n"
        "sys.exit(main())\n"
    )
    result = run("self-check", "base", code=code)
    assert "greetings of pydantic" in result.stderr
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModuleNotFoundError("", name="inner"), "The module yaml needs inner, which is missing;"),
        (
            ImportError("libGL.so.1: no such file"),
            "The module yaml cannot be imported (libGL.so.1: no such file);",
        ),
        (OSError("libcudart.so"), "The module yaml cannot be imported (libcudart.so);"),
    ],
)
def test_a_module_that_does_not_load_is_named(
    monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    failure = self_check._import_failure("yaml")
    assert failure is not None
    assert failure.startswith(sentence)


def test_an_option_may_be_called_as_a_command_is_kept(tmp_path: Path) -> None:
    """`train --run FILE` gets its file, and the command is still found."""
    done = subprocess.run(
        [sys.executable, "-m", "azaion_jobs", "train", "--run", str(tmp_path / "absent.json"), "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.BAD_SPEC
    assert f"{tmp_path}/absent.json cannot be read: No such file or directory." in done.stdout
