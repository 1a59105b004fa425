"""Decisions. Pure: no I/O, no clock, no Kubernetes client; `now` is an argument."""

from azaion_operator.domain.plan import Action, Plan, SetStatus
from azaion_operator.domain.training_run import desired

__all__ = ["Action", "Plan", "SetStatus", "desired"]
