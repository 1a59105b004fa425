"""Waits for a cluster's keeper to end and removes what outlives processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from azaion_devcluster import files, leftovers
from azaion_devcluster.paths import Cache
from azaion_devcluster.processes import await_end, open_all

_END_SECONDS = 30.0


def main() -> None:
    """Called by the keeper, which holds the other end of the pipe."""
    cache, name, pipe = Cache(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    paths = cache.cluster(name)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lock = files.hold(paths.janitor_lock)
    if lock is None:
        sys.exit(f"The cluster {name} has a janitor already.")
    while os.read(pipe, 1):
        pass
    # The kernel lets the first process of a namespace go only when all others in it are gone.
    await_end(open_all([paths.node_pid()]), seconds=_END_SECONDS)
    if left := leftovers.remove(paths):
        sys.exit(f"Could not remove {', '.join(map(str, left))}.")


if __name__ == "__main__":
    main()
