"""What the exit status of a Job's main process says."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit statuses that the operator tells apart.

    The numbers follow sysexits where it has a fitting one; 80 is ours. They are read from pods that an older
    or newer image has started, so a number is never given a second meaning.
    """

    DONE = 0
    """All that was asked for has been done."""

    BAD_SPEC = 64
    """The run or its settings are wrong: trying again cannot help."""

    BAD_DATA = 65
    """The dataset, the classes or a model are wrong: trying again cannot help."""

    SERVICE_UNAVAILABLE = 69
    """A service that is needed (API, CDN, broker) does not answer."""

    INTERNAL_ERROR = 70
    """A fault of this software."""

    STORAGE_FAULT = 74
    """The disk is full, read-only or broken."""

    STOPPED_ON_REQUEST = 75
    """Somebody asked for the stop; the next attempt goes on from the checkpoint."""

    GPU_FAULT = 76
    """The GPU is gone, refuses work or does not give back its memory."""

    OUT_OF_MEMORY = 77
    """Neither the smallest batch nor the memory of the host suffices."""

    DIVERGED = 78
    """The loss stays NaN although training went back and on with a lower rate."""

    STALLED = 79
    """Training stood still more often than the budget allows."""

    FENCED_OFF = 80
    """A newer attempt has taken over the run directory."""
