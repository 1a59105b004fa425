"""What operator and Jobs have agreed on: exit codes and verdicts.

Standard library only: the supervisor and the operator both import it, and neither should pay for more.
"""

from azaion_jobs.contract.exit_codes import ExitCode
from azaion_jobs.contract.verdict import (
    TERMINATION_MESSAGE_BYTES,
    VERDICT_VERSION,
    Outcome,
    Verdict,
    VerdictError,
)

__all__ = ["TERMINATION_MESSAGE_BYTES", "VERDICT_VERSION", "ExitCode", "Outcome", "Verdict", "VerdictError"]
