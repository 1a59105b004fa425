"""`/metrics`: the progress as Prometheus reads it, from a registry of its own."""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from azaion_jobs.contract.progress import Progress

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_GAUGES: Final[dict[str, tuple[str, Callable[[Progress], float | None]]]] = {
    "training_epoch": ("Last completed epoch, from 1.", lambda now: now.epoch),
    "training_epochs": ("Epochs that the run is to have.", lambda now: now.epochs),
    "training_loss": ("Sum of the parts of the training loss of the last epoch.", lambda now: now.loss),
    "training_mAP50": ("mAP50 of the last validation.", lambda now: now.map50),
    "training_mAP50_95": ("mAP50-95 of the last validation.", lambda now: now.map50_95),
    "training_learning_rate": ("Learning rate of the last epoch.", lambda now: now.learning_rate),
    "training_batch": ("Batches done of the current epoch.", lambda now: now.batch),
    "training_batches": ("Batches of an epoch.", lambda now: now.batches),
    "training_progress_percent": ("How much of the run is done.", lambda now: now.percent),
    "training_eta_seconds": ("Estimated seconds until the last epoch is done.", lambda now: now.eta_seconds),
    "training_step_seconds": ("Mean duration of the recent steps.", lambda now: now.step_seconds),
    "training_data_wait_ratio": (
        "Part of the recent steps that was spent waiting for data.",
        lambda now: now.data_wait_ratio,
    ),
    "training_effective_batch_size": (
        "Batch size after out-of-memory.",
        lambda now: now.effective_batch_size,
    ),
    "training_workers": ("Loader workers after what the machine forced.", lambda now: now.workers),
    "training_stalled": ("1 while the trainer stands still.", lambda now: now.stalled),
    "training_checkpoint_age_seconds": (
        "Age of the newest checkpoint.",
        lambda now: now.checkpoint.age_seconds if now.checkpoint else None,
    ),
    "training_checkpoint_size_bytes": (
        "Size of the newest checkpoint.",
        lambda now: now.checkpoint.size if now.checkpoint else None,
    ),
    "training_last_progress_seconds": (
        "Seconds since the trainer last got anywhere.",
        lambda now: now.last_progress_seconds,
    ),
}
_COUNTERS: Final[dict[str, tuple[str, Callable[[Progress], float]]]] = {
    "training_restarts": ("Restarts of the trainer in place.", lambda now: now.restarts),
    "training_stalls": ("Stalls of the trainer.", lambda now: now.stalls),
    "training_checkpoint_failures": (
        "Checkpoints that could not be written.",
        lambda now: now.checkpoint_failures,
    ),
}


class _Collector(Collector):
    """Asks for the progress at the moment of the scrape; what has no value yet is left out."""

    def __init__(self, progress: Callable[[], Progress]) -> None:
        self._progress = progress

    def collect(self) -> Iterable[Metric]:
        now = self._progress()
        for name, (meaning, value_of) in _GAUGES.items():
            value = value_of(now)
            if value is not None:
                yield GaugeMetricFamily(name, meaning, value=float(value))
        for name, (meaning, count_of) in _COUNTERS.items():
            yield CounterMetricFamily(name, meaning, value=float(count_of(now)))


def page(progress: Callable[[], Progress]) -> Callable[[], bytes]:
    """The body of `/metrics`."""
    registry = CollectorRegistry()
    registry.register(_Collector(progress))
    return lambda: generate_latest(registry)
