import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azaion_jobs.training.trainer import environment
from azaion_jobs.training.trainer.schedule import Schedule


@pytest.mark.parametrize(
    ("batches", "accumulate", "steps"),
    [(7, 3, {2, 5, 6}), (6, 3, {2, 5}), (3, 1, {0, 1, 2}), (2, 8, {1}), (1, 1, {0})],
)
def test_steps_without_warm_up(batches: int, accumulate: int, steps: set[int]) -> None:
    schedule = Schedule(batches=batches, accumulate=accumulate, warmup=0)
    assert schedule.steps(0) == schedule.steps(5) == steps


def test_warm_up_begins_with_a_step_after_each_batch() -> None:
    schedule = Schedule(batches=10, accumulate=5, warmup=10)
    assert {0, 1} <= schedule.steps(0)
    assert schedule.steps(1) == {4, 9} | ({0} & schedule.steps(1))
    assert len(schedule.steps(0)) > len(schedule.steps(2)) == 2


@given(
    batches=st.integers(1, 50),
    accumulate=st.integers(1, 64),
    warmup=st.integers(0, 120),
    epoch=st.integers(0, 9),
)
def test_no_gradient_is_carried_into_the_next_epoch(
    batches: int, accumulate: int, warmup: int, epoch: int
) -> None:
    steps = sorted(Schedule(batches=batches, accumulate=accumulate, warmup=warmup).steps(epoch))
    assert steps[-1] == batches - 1
    gaps = [later - earlier for earlier, later in zip([-1, *steps], steps, strict=False)]
    assert max(gaps) <= accumulate


def test_the_ramp_ends_exactly_where_it_should() -> None:
    schedule = Schedule(batches=4, accumulate=1, warmup=6)
    assert schedule.ramp(0, 0, 0.1, 0.7) == 0.1
    assert schedule.ramp(1, 2, 0.0, 0.7) == 0.7
    assert schedule.ramp(1, 3, 0.0, 0.7) == 0.7
    assert not schedule.warming(1, 3)
    assert not Schedule(batches=4, accumulate=1, warmup=0).warming(0, 0)


def test_the_environment_keeps_what_the_image_has_baked_in(tmp_path: Path) -> None:
    folder = tmp_path / "Ultralytics"
    folder.mkdir()
    (folder / "settings.json").write_text("{}")
    environ = {environment.CONFIG_VARIABLE: str(tmp_path), "YOLO_OFFLINE": "0"}
    environment.prepare(environ)
    assert environ["YOLO_OFFLINE"] == "1"
    assert (folder / "settings.json").read_text() == "{}"
    assert (folder / "Arial.ttf").exists()


def test_without_an_image_a_folder_is_made_with_everything_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environ: dict[str, str] = {}
    environment.prepare(environ)
    settings = json.loads(
        (Path(environ[environment.CONFIG_VARIABLE]) / "Ultralytics" / "settings.json").read_text()
    )
    assert settings["sync"] is False
    assert not any(settings[name] for name in ("clearml", "comet", "dvc", "mlflow", "raytune", "wandb"))
