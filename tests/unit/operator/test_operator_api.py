"""The typed view of our kinds."""

from __future__ import annotations

import pytest

from azaion_operator import api
from azaion_operator.api import TRAINING_RUNS, Kind, TrainingRun
from azaion_operator.errors import UnreadableObject

METADATA = {"name": "run", "namespace": "azaion", "uid": "uid-1"}


def test_a_run_of_nothing_but_metadata_has_the_defaults_of_the_kind() -> None:
    spec = TrainingRun.from_body({"metadata": METADATA}).spec

    assert (spec.model, spec.epochs, spec.gpus, spec.priority, spec.suspend) == (None, None, 1, 0, False)


def test_camel_case_of_the_api_is_read() -> None:
    spec = TrainingRun.from_body({"metadata": METADATA, "spec": {"batchSize": 11, "imageSize": 1280}}).spec

    assert (spec.batch_size, spec.image_size) == (11, 1280)


def test_a_field_of_the_wrong_type_is_named() -> None:
    with pytest.raises(
        UnreadableObject, match=r"azaion/run cannot be read: field spec\.epochs: .*azaion-crds"
    ):
        TrainingRun.from_body({"metadata": METADATA, "spec": {"epochs": "many"}})


def test_a_run_without_a_name_is_refused() -> None:
    with pytest.raises(UnreadableObject, match=r"field metadata\.name"):
        TrainingRun.from_body({"spec": {}})


def test_kinds_know_their_addresses() -> None:
    pods = Kind(group="", version="v1", plural="pods", kind="Pod", namespaced=True)

    assert pods.api_version == "v1"
    assert TRAINING_RUNS.api_version == "training.azaion.com/v1alpha1"
    assert TRAINING_RUNS.crd_name == "trainingruns.training.azaion.com"
    assert TRAINING_RUNS.selector == ("training.azaion.com", "v1alpha1", "trainingruns")


def test_the_public_names_exist() -> None:
    assert all(hasattr(api, name) for name in api.__all__)
