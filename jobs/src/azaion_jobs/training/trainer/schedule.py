"""When the optimizer steps, and how the warm-up rises: by the position in training alone.

Pure. The loop of ultralytics keeps both in local variables, which a resume inside an epoch would lose.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of one training: `batches` an epoch, warm-up over the first `warmup` of all batches."""

    batches: int
    accumulate: int
    """Batches between two optimizer steps once warm."""
    warmup: int

    def warming(self, epoch: int, batch: int) -> bool:
        """Whether this batch (both from 0) belongs to the warm-up; its end is included."""
        return self.warmup > 0 and self._iteration(epoch, batch) <= self.warmup

    def ramp(self, epoch: int, batch: int, low: float, high: float) -> float:
        """Where a value stands that rises, or falls, from `low` to `high` over the warm-up."""
        if self._iteration(epoch, batch) >= self.warmup:
            return high
        return low + (high - low) * self._iteration(epoch, batch) / self.warmup

    def steps(self, epoch: int) -> frozenset[int]:
        """The batches of this epoch after which the optimizer steps.

        Counted from the epoch's start, and always after its last batch: so no gradients are carried into the
        next epoch, and none are dropped.
        """
        chosen = set()
        last = -1
        for batch in range(self.batches):
            wanted = max(1, round(self.ramp(epoch, batch, 1, self.accumulate)))
            if batch - last >= wanted or batch + 1 == self.batches:
                chosen.add(batch)
                last = batch
        return frozenset(chosen)

    def _iteration(self, epoch: int, batch: int) -> int:
        return epoch * self.batches + batch
