"""last.pt, best.pt and epochN.pt: ultralytics' own format, on disk once, whole or absent."""

import errno
import logging
import re
from typing import Final

from azaion_jobs.training.durable import link_durably, write_durably
from azaion_jobs.tree import RunFolder

_EPOCH_FILE = re.compile(r"epoch(\d+)\.pt")
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_log = logging.getLogger("azaion_jobs.trainer")


class Captured:
    """Stands where ultralytics wants to write a file, and keeps what it writes."""

    def __init__(self) -> None:
        self.content: bytes | None = None

    def write_bytes(self, content: bytes) -> int:
        """Take the content; the last one counts, and they are all the same."""
        self.content = content
        return len(content)


class WeightFiles:
    """The weights of a run; of those by epoch the newest `keep` stay."""

    def __init__(self, folder: RunFolder, *, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def publish(self, content: bytes, *, best: bool, epoch: int | None) -> None:
        """Write last.pt, and let best.pt and epochN.pt be further names of it where they are due."""
        try:
            write_durably(self._folder.last, content)
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            _log.warning("The disk is full: weights of earlier epochs are removed to make room")
            self._prune(1)
            write_durably(self._folder.last, content)
        if best:
            link_durably(self._folder.last, self._folder.best)
        if epoch is not None:
            link_durably(self._folder.last, self._folder.epoch(epoch))
            self._prune(self._keep)

    def _prune(self, keep: int) -> None:
        numbers = sorted(
            int(found[1])
            for path in self._folder.weights.iterdir()
            if (found := _EPOCH_FILE.fullmatch(path.name))
        )
        for number in numbers[: max(0, len(numbers) - keep)]:
            self._folder.epoch(number).unlink(missing_ok=True)
