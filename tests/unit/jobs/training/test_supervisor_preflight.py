from dataclasses import replace
from pathlib import Path

import pytest

from azaion_jobs.contract import ExitCode, RunIdentity, RunSpec, TrainingSpec
from azaion_jobs.training import machine, preflight
from azaion_jobs.training.machine import NvidiaSmi, Space
from azaion_jobs.training.preflight import Facts

SPEC = RunSpec(run=RunIdentity(name="w", uid="u"), dataset="d", model_directory="m")
FACTS = Facts(
    dataset_problems=(),
    train_images=70_000,
    valid_images=20_000,
    gpu_memory=(0,),
    shared_memory=64 * 10**9,
    memory_limit=None,
    cpus=48,
    disk=Space(10**12, 10**6),
    checkpoint_bytes=0,
    parameters=21_780_000,
)


def facts(**changes: object) -> Facts:
    return replace(FACTS, **changes)  # type: ignore[arg-type]


def test_all_is_well() -> None:
    assert preflight.check(SPEC, FACTS) is None


@pytest.mark.parametrize(
    ("changes", "exit_code", "words"),
    [
        ({"dataset_problems": ("It is bad.", "Worse.")}, ExitCode.BAD_DATA, "It is bad."),
        ({"gpu_memory": ()}, ExitCode.GPU_FAULT, "asks for 1 GPUs, but this pod sees 0"),
        ({"disk": Space(3 * 10**9, None)}, ExitCode.STORAGE_FAULT, "can take 3.5 GB, but /azaion has 3.0 GB"),
        ({"disk": Space(10**12, 9_999)}, ExitCode.STORAGE_FAULT, "9999 free inodes"),
    ],
)
def test_what_forbids_a_start_is_named(changes: dict[str, object], exit_code: ExitCode, words: str) -> None:
    problem = preflight.check(SPEC, facts(**changes))
    assert problem is not None
    assert problem.exit_code is exit_code
    assert words in problem.message


@pytest.mark.parametrize(
    "changes",
    [
        {"gpu_memory": None},
        {"disk": None},
        {"disk": Space(10**12, None)},
        # A resumed run replaces its own checkpoints.
        {"disk": Space(3 * 10**9, None), "checkpoint_bytes": 10**9},
    ],
)
def test_what_is_unknown_or_replaced_is_no_fault(changes: dict[str, object]) -> None:
    assert preflight.check(SPEC, facts(**changes)) is None


def test_the_cpu_needs_no_gpu() -> None:
    assert preflight.check(replace(SPEC, training=TrainingSpec(gpus=0)), facts(gpu_memory=())) is None


def test_shared_memory_as_measured() -> None:
    """By the formula that was compared with real loaders, validation workers capped at 8."""
    training = 3 * 11 * 1280**2 * (4 * 24 + 1)
    validation = 3 * 22 * 1312**2 * 2 * 8
    assert preflight.shared_memory_needed(SPEC, 24, FACTS) == training + validation
    assert preflight.shared_memory_needed(SPEC, 0, FACTS) == 0
    # Never more workers than processors or batches.
    assert preflight.shared_memory_needed(SPEC, 24, facts(cpus=4)) == preflight.shared_memory_needed(
        SPEC, 4, facts(cpus=4)
    )


@pytest.mark.parametrize(
    ("changes", "workers"),
    [
        ({}, 24),
        ({"shared_memory": None}, 24),
        ({"shared_memory": 64 << 20}, 0),
        ({"shared_memory": 4 * 10**9}, 9),
        # An unlimited /dev/shm shows the node's memory; the pod's limit counts.
        ({"memory_limit": 8 * 10**9}, 9),
        ({"memory_limit": 10**9}, 0),
    ],
)
def test_workers_are_lowered_to_what_fits(changes: dict[str, object], workers: int) -> None:
    assert preflight.workers_that_fit(SPEC, 24, facts(**changes)) == workers


def test_one_worker_more_would_not_fit() -> None:
    room = 4 * 10**9
    workers = preflight.workers_that_fit(SPEC, 24, facts(shared_memory=room))
    assert preflight.shared_memory_needed(SPEC, workers, FACTS) <= room
    assert preflight.shared_memory_needed(SPEC, workers + 1, FACTS) > room


@pytest.mark.parametrize(
    ("files", "kills", "limit"),
    [
        ({"memory.events": "low 0\noom 3\noom_kill 2\n", "memory.max": "1000\n"}, 2, 1000),
        ({"memory.max": "max\n"}, None, None),
        (
            {
                "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            7,
            None,
        ),
        ({"memory/memory.limit_in_bytes": "4096\n"}, None, 4096),
        ({}, None, None),
    ],
)
def test_control_groups_of_both_versions(
    tmp_path: Path, files: dict[str, str], kills: int | None, limit: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.oom_kills(tmp_path) == kills
    assert machine.memory_limit(tmp_path) == limit


@pytest.mark.parametrize(
    ("script", "used"),
    [
        ("echo 1; echo 2000", (1 << 20, 2000 << 20)),
        ("exit 9", ()),
        ("echo 'Failed to initialize NVML'", None),
    ],
)
def test_nvidia_smi_is_understood(tmp_path: Path, script: str, used: tuple[int, ...] | None) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert NvidiaSmi(str(program)).memory_used() == used


@pytest.mark.parametrize(("device", "used"), [("nvidia0", None), ("nvidiactl", ())])
def test_without_nvidia_smi_the_devices_tell(
    tmp_path: Path, device: str, used: tuple[int, ...] | None
) -> None:
    (tmp_path / device).touch()
    assert NvidiaSmi("no-such-program", tmp_path).memory_used() == used


def test_space_is_that_of_the_next_folder_that_exists(tmp_path: Path) -> None:
    there = machine.space(tmp_path / "not" / "yet")
    assert there is not None
    assert there.bytes > 0


@pytest.mark.parametrize(
    ("model", "parameters"),
    [("yolo26n.yaml", 3_000_000), ("yolo26m.pt", 26_000_000), ("mine.pt", 70_000_000), ("weighed.pt", 50)],
)
def test_parameters_are_weighed_or_guessed(tmp_path: Path, model: str, parameters: int) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "weighed.pt").write_bytes(b"x" * 100)
    (tmp_path / "manifest").touch()
    spec = replace(SPEC, root=str(tmp_path), training=TrainingSpec(model=model, gpus=0))
    found = preflight.look(
        spec,
        shared_memory=tmp_path,
        cgroups=tmp_path,
        gpus=NvidiaSmi("no-such-program", tmp_path),
        space=machine.space,
        dataset_problems=lambda folder, expected: (),
    )
    assert found.parameters == parameters
