"""Puts the format to work in this process, and lets it be changed while it runs."""

import asyncio
import logging
import signal
import sys
import threading
import types
import warnings
from collections.abc import Iterable
from typing import Any, Final, Literal, TextIO, get_args

from azaion_jobs.logs._format import JsonFormatter
from azaion_jobs.logs._redaction import Redactor

Service = Literal["training", "annotation-queue", "operator", "prepare", "release", "monitor", "console"]

LEVELS: Final = {
    "ERROR": logging.ERROR,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
}

# Only our own code may speak at DEBUG: what HTTP and Kubernetes clients say there includes headers
# and bodies.
_OWN_LOGGERS: Final = ("azaion_jobs", "azaion_operator")

_redactor = Redactor()
_log = logging.getLogger("azaion_jobs.logs")


class _LineHandler(logging.Handler):
    """Writes each record at once and whole, so that lines of several threads do not mix."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        # Looked up anew each time: stdout may have been redirected since.
        stream = self._stream or sys.stdout
        try:
            try:
                stream.write(line + "\n")
            except UnicodeEncodeError:
                # A stream that is not UTF-8; an escape means the same to whoever reads JSON.
                stream.write(_ascii(line) + "\n")
            stream.flush()
        except (OSError, ValueError):
            # The reader is gone, the disk is full or the stream is closed: there is nobody left to tell.
            return


def configure(*, service: Service, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Make every log record, warning and uncaught exception of this process a JSON line on stdout.

    To be called once, at the start of `main`, and again by nobody but tests. `stream` replaces stdout. From
    the main thread it also makes SIGUSR1 switch DEBUG on and off.
    """
    if service not in get_args(Service):
        msg = f"{service!r} is not a service; the services are {', '.join(get_args(Service))}."
        raise ValueError(msg)
    handler = _LineHandler(stream)
    handler.setFormatter(JsonFormatter(service, _redactor))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    set_level(level)
    warnings.showwarning = _show_warning
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _uncaught_in_thread
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, _toggle_debug)


def register_secrets(values: Iterable[str]) -> None:
    """Never show these values again, wherever they come up; call it as soon as a secret has been read."""
    _redactor.register(values)


def redact(text: str) -> str:
    """The text as a log line would show it; for other places that people read, such as verdicts."""
    return _redactor.text(text)


def set_level(level: str) -> None:
    """Change the level: ERROR, WARN (or WARNING), INFO or DEBUG. Libraries stay at INFO or above."""
    number = LEVELS.get(level.upper())
    if number is None:
        msg = f"{level!r} is not a log level; use ERROR, WARN, INFO or DEBUG."
        raise ValueError(msg)
    logging.getLogger().setLevel(max(number, logging.INFO))
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(number)


def asyncio_exception_handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what an event loop has nobody to give to; for `loop.set_exception_handler`."""
    del loop
    failure = context.get("exception")
    details = {name: value for name, value in context.items() if name not in ("message", "exception")}
    _log.error(
        "%s", context.get("message", "Error in the event loop"), exc_info=failure, extra={"context": details}
    )


def _ascii(line: str) -> str:
    # Beyond the basic plane JSON wants a pair of escapes, which UTF-16 happens to spell.
    def escaped(character: str) -> str:
        units = character.encode("utf-16-be")
        return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))

    return "".join(character if character.isascii() else escaped(character) for character in line)


def _toggle_debug(signum: int, frame: types.FrameType | None) -> None:
    # No line is written: the signal may have come in the middle of one.
    del signum, frame
    own = logging.getLogger(_OWN_LOGGERS[0])
    set_level("INFO" if own.level == logging.DEBUG else "DEBUG")


def _show_warning(  # noqa: PLR0913, PLR0917 - the signature of warnings.showwarning
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del file, line
    _log.warning(
        "%s", message, extra={"context": {"category": category.__name__, "file": filename, "line": lineno}}
    )


def _uncaught(kind: type[BaseException], failure: BaseException, trace: types.TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _log.warning("Interrupted from the keyboard")
        return
    _log.error("Uncaught exception", exc_info=(kind, failure, trace))


def _uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if issubclass(arguments.exc_type, SystemExit):
        return
    name = arguments.thread.name if arguments.thread else "unknown"
    failure = arguments.exc_value or arguments.exc_type()
    _log.error(
        "Uncaught exception in a thread",
        exc_info=(arguments.exc_type, failure, arguments.exc_traceback),
        extra={"context": {"thread": name}},
    )


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    failure = unraisable.exc_value or unraisable.exc_type()
    _log.error(
        "%s",
        unraisable.err_msg or "Exception ignored",
        exc_info=(unraisable.exc_type, failure, unraisable.exc_traceback),
        extra={"context": {"object": type(unraisable.object).__name__}},
    )
