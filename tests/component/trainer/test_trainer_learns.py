"""The tiny recipe learns, and a whole run of it touches no network."""

from __future__ import annotations

from azaion_jobs.contract.messages import Finished

from .conftest import Runs


def test_sixteen_epochs_learn(runs: Runs) -> None:
    """The process that runs it ends any trainer that looks up a name or connects to one."""
    run = runs.run(images=64, epochs=16, batch_size=8, image_size=96, minutes=10)
    assert run.start() == 0, run.output()
    finished = run.messages()[-1]
    assert isinstance(finished, Finished)
    assert finished.best.map50 > 0.7
    assert float(run.rows()[-1]["metrics/mAP50(B)"]) > 0.7
