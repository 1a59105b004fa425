"""Our kinds, typed: names, keys, phases and conditions in one place. Pure data, no I/O."""

from azaion_operator.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from azaion_operator.api.kinds import FIELD_MANAGER, GROUP, TRAINING_RUNS, VERSION, Body, Kind
from azaion_operator.api.training_run import Display, Phase, TrainingRun, TrainingRunSpec, TrainingRunStatus

__all__ = [
    "FIELD_MANAGER",
    "GROUP",
    "TRAINING_RUNS",
    "VERSION",
    "Body",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "Display",
    "Kind",
    "Phase",
    "Reason",
    "TrainingRun",
    "TrainingRunSpec",
    "TrainingRunStatus",
]
