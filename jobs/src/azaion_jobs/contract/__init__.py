"""What operator and Jobs have agreed on: run.json, progress, exit codes and verdicts.

Standard library only: the supervisor and the operator both import it, and neither should pay for more. What
only the trainer and its supervisor say to each other stands in `contract.messages`.
"""

from azaion_jobs.contract.exit_codes import ExitCode
from azaion_jobs.contract.run import (
    RUN_VERSION,
    CheckpointSpec,
    Limits,
    RunIdentity,
    RunSpec,
    RunSpecError,
    StartFrom,
    TrainingSpec,
)
from azaion_jobs.contract.verdict import (
    TERMINATION_MESSAGE_BYTES,
    VERDICT_VERSION,
    Outcome,
    Verdict,
    VerdictError,
)

__all__ = [
    "RUN_VERSION",
    "TERMINATION_MESSAGE_BYTES",
    "VERDICT_VERSION",
    "CheckpointSpec",
    "ExitCode",
    "Limits",
    "Outcome",
    "RunIdentity",
    "RunSpec",
    "RunSpecError",
    "StartFrom",
    "TrainingSpec",
    "Verdict",
    "VerdictError",
]
