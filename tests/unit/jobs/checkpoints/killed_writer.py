"""Saves one checkpoint, tells each step, and kills itself after the step whose number it is given."""

import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO

from azaion_jobs.training.checkpoints import CheckpointStore, Stage

CONTENT = (b"first part of the third state", b"second part")


def write(stream: BinaryIO) -> None:
    stream.writelines(CONTENT)


def main(directory: str, last_step: str) -> None:
    passed = 0

    def step(name: str) -> None:
        nonlocal passed
        passed += 1
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()
        if passed == int(last_step):
            os.kill(os.getpid(), signal.SIGKILL)

    store = CheckpointStore(Path(directory), fence=1, attempt=1, keep=2, step=step)
    store.save(write, epoch=3, batch=0, stage=Stage.EPOCH)


if __name__ == "__main__":
    assert "torch" not in sys.modules
    main(*sys.argv[1:])
