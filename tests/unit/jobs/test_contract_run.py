import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azaion_jobs.contract import Limits, RunIdentity, RunSpec, RunSpecError, StartFrom, TrainingSpec
from azaion_jobs.contract.hyperparameters import ALLOWED

MINIMAL = {
    "version": 1,
    "run": {"name": "winter", "uid": "0b8b"},
    "dataset": "azaion-2026-11-20",
    "modelDirectory": "azaion-2026-11-20",
}

SPECS = st.builds(
    RunSpec,
    run=st.builds(RunIdentity, name=st.text(min_size=1).filter(str.strip), uid=st.just("u")),
    dataset=st.just("azaion-2026-11-20-2"),
    model_directory=st.just("azaion-2026-11-20"),
    attempt=st.integers(1, 99),
    training=st.builds(
        TrainingSpec,
        epochs=st.integers(1, 999),
        image_size=st.integers(1, 100).map(lambda steps: 32 * steps),
        hyperparameters=st.dictionaries(st.sampled_from(["lr0", "mosaic", "momentum"]), st.floats(0, 1)),
    ),
    start_from=st.none() | st.builds(StartFrom, run=st.just("autumn")),
    limits=st.builds(Limits, stall_floor=st.floats(0.01, 1e6)),
)


@given(SPECS)
def test_a_spec_reads_back_as_it_was_written(spec: RunSpec) -> None:
    assert RunSpec.from_json(spec.to_json()) == spec


def test_the_defaults_are_those_of_production() -> None:
    spec = RunSpec.from_json(json.dumps(MINIMAL))
    assert (spec.training.batch_size, spec.training.image_size, spec.training.workers) == (11, 1280, 24)
    assert (spec.checkpoints.keep, spec.checkpoints.exact, spec.checkpoints.every_minutes) == (3, "order", 10)
    assert (spec.limits.grace, spec.limits.stall_floor, spec.limits.lease_wait) == (120, 300, 150)


def test_keys_are_camel_case() -> None:
    document = json.loads(RunSpec.from_json(json.dumps(MINIMAL)).to_json())
    assert {"modelDirectory", "datasetHash", "startFrom"} <= set(document)
    assert "batchSize" in document["training"]
    assert "stallFloor" in document["limits"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 2}, "run.version is 2; this software reads version 1."),
        ({"run": {"name": "w"}}, "run.run lacks uid."),
        ({"run": []}, "run.run must be a JSON object."),
        ({"atempt": 2}, "run has the unknown field 'atempt'"),
        ({"attempt": 0}, "run.attempt must be at least 1; it is 0."),
        ({"attempt": True}, "run.attempt must be a whole number."),
        ({"attempt": 1.0}, "run.attempt must be a whole number."),
        ({"stage": "test"}, "run.stage must be one of prepare, train, release."),
        ({"stage": ["train"]}, "run.stage must be one of prepare, train, release."),
        ({"root": "azaion"}, "run.root must be an absolute path; it is 'azaion'."),
        ({"root": "/"}, "run.root must be an absolute path; it is '/'."),
        ({"dataset": "../x"}, "run.dataset must be the name of one file or folder; it is '../x'."),
        ({"modelDirectory": ""}, "run.modelDirectory must be the name of one file or folder; it is ''."),
        ({"datasetHash": "abc"}, "run.datasetHash must be a SHA-256"),
        ({"training": {"epochs": 0}}, "run.training.epochs must be at least 1; it is 0."),
        ({"training": {"imageSize": 650}}, "run.training.imageSize must be a multiple of 32; it is 650."),
        ({"training": {"seed": 2**32}}, "run.training.seed must be at most"),
        ({"training": {"model": 3}}, "run.training.model must be text."),
        (
            {"training": {"hyperparameters": {"lr0": []}}},
            "run.training.hyperparameters.lr0 must be a number, text",
        ),
        ({"training": {"hyperparameters": 1}}, "run.training.hyperparameters must be a JSON object."),
        ({"checkpoints": {"exact": "yes"}}, "run.checkpoints.exact must be one of off, order, strict."),
        ({"checkpoints": {"everyMinutes": -1}}, "run.checkpoints.everyMinutes must be at least 0; it is -1."),
        ({"checkpoints": {"everyMinutes": float("nan")}}, "run.checkpoints.everyMinutes must be finite."),
        ({"checkpoints": {"everyMinutes": 10**400}}, "run.checkpoints.everyMinutes must be finite."),
        ({"limits": {"rehearse": 1}}, "run.limits.rehearse must be true or false."),
        ({"limits": {"grace": 10}}, "run.limits.graceMargin must be smaller than run.limits.grace."),
        ({"startFrom": {}}, "run.startFrom must name a run or a modelDirectory."),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(RunSpecError, match=re.escape(sentence)):
        RunSpec.from_json(json.dumps(MINIMAL | change))


@pytest.mark.parametrize("text", ["", "{", b"\xff", "[" * 100_000])
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(RunSpecError, match=r"^run\.json is not JSON\.$"):
        RunSpec.from_json(text)


@pytest.mark.parametrize("missing", ["run", "dataset", "modelDirectory"])
def test_what_is_missing_is_named(missing: str) -> None:
    document = {name: value for name, value in MINIMAL.items() if name != missing}
    with pytest.raises(RunSpecError, match=f"^run lacks {missing}.$"):
        RunSpec.from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        *(
            (name, 1, f"run.training.hyperparameters.{name} cannot be set; what can be set is amp, bgr")
            for name in (
                "save",
                "val",
                "time",
                "fraction",
                "classes",
                "single_cls",
                "resume",
                "epochs",
                "data",
            )
        ),
        ("lr0", "fast", "hyperparameters.lr0 must be a number."),
        ("lr0", -0.1, "hyperparameters.lr0 must be at least 0; it is -0.1."),
        ("mosaic", 1.5, "hyperparameters.mosaic must be at most 1; it is 1.5."),
        ("mosaic", True, "hyperparameters.mosaic must be a number."),
        ("nbs", 0.5, "hyperparameters.nbs must be a whole number."),
        ("cos_lr", 1, "hyperparameters.cos_lr must be one of true, false."),
        ("amp", "fp8", "hyperparameters.amp must be one of true, false, fp16, bf16, fp32."),
        ("optimizer", "Lion", "hyperparameters.optimizer must be one of SGD, MuSGD"),
    ],
)
def test_a_hyperparameter_that_may_not_be_is_named(name: str, value: object, sentence: str) -> None:
    document = MINIMAL | {"training": {"hyperparameters": {name: value}}}
    with pytest.raises(RunSpecError, match=re.escape(sentence)):
        RunSpec.from_json(json.dumps(document))


def test_every_allowed_hyperparameter_has_a_value_that_is_accepted() -> None:
    values: dict[str, object] = {}
    for name, rule in ALLOWED.items():
        if rule.bounds is not None:
            values[name] = int(rule.bounds.least)
        else:
            values[name] = rule.choices[0] if rule.choices else True
    document = MINIMAL | {"training": {"hyperparameters": values}}
    assert RunSpec.from_json(json.dumps(document)).training.hyperparameters == values
