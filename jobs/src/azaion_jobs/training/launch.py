"""Becomes the trainer, after asking the kernel to kill it together with its supervisor.

A program of its own rather than a function run between fork and exec: the supervisor has threads, and in the
child of a process with threads Python code can wait for a lock for ever.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """`launch.py SUPERVISOR_PID PROGRAM ARGUMENT...`."""
    supervisor, *command = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before the kernel was asked.
    if os.getppid() != int(supervisor):
        sys.exit("The supervisor is gone.")
    os.execvp(command[0], command)  # noqa: S606 - becoming another program is what this is for


if __name__ == "__main__":
    main()
