"""One log record, one line: a JSON object with exactly five keys."""

import json
import logging
import re
import traceback
from datetime import UTC, datetime
from typing import Any, Final

from azaion_jobs.logs._plain import Plainer
from azaion_jobs.logs._redaction import Redactor

LINE_BYTES: Final = 16_000
"""No line is longer: at 16 KiB the container runtime cuts lines in two."""

# Characters that may come out of one record; the first budget whose line is short enough is taken. The last
# one is, since no character needs more than six bytes.
_BUDGETS: Final = (12_000, 6_000, 3_000, 1_200)

# Control characters and separators at which readers might break a line or a terminal might act. JSON itself
# escapes those below a blank.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")

_OWN_LOGGERS: Final = ("azaion_jobs", "azaion_operator", "__main__", "root")
_OBJECT_FIELDS: Final = ("kind", "name", "namespace")


def level_name(number: int) -> str:
    """The one of our four levels that a level of `logging` belongs to."""
    if number >= logging.ERROR:
        return "ERROR"
    if number >= logging.WARNING:
        return "WARN"
    return "INFO" if number >= logging.INFO else "DEBUG"


class JsonFormatter(logging.Formatter):
    """Formats any record without ever raising.

    The context is taken from `extra={"context": {...}}`; kopf's reference to the object it speaks of becomes
    `context.object`. No other extras are shown: libraries put whole settings there.
    """

    def __init__(self, service: str, redactor: Redactor) -> None:
        """`service` names the part of the system that this process is."""
        super().__init__()
        self._service = service
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The line, without line feed."""
        try:
            return self._line(record)
        except Exception as error:  # noqa: BLE001 - logging must never end the work it reports on
            return self._encode(
                record, "A log record could not be formatted.", {"exception": type(error).__name__}
            )

    def _line(self, record: logging.LogRecord) -> str:
        for budget in _BUDGETS:
            plainer = Plainer(self._redactor, budget)
            message = plainer.text(self._message(record), limit=budget // 3)
            line = self._encode(record, message, self._context(record, plainer, budget))
            if len(line.encode()) <= LINE_BYTES:
                return line
        raise OverflowError

    def _encode(self, record: logging.LogRecord, message: str, context: dict[str, Any]) -> str:
        try:
            time = datetime.fromtimestamp(record.created, UTC)
        except (ValueError, OverflowError, OSError):
            # A record from elsewhere with a time that is none.
            time = datetime.now(UTC)
        document = {
            "timestamp": f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z",
            "level": level_name(record.levelno),
            "service": self._service,
            "message": message,
            "context": context,
        }
        line = json.dumps(document, ensure_ascii=False, allow_nan=False)
        # All of them stand inside strings, where an escape means the same.
        return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", line)

    @staticmethod
    def _message(record: logging.LogRecord) -> str:
        try:
            message = str(_without_bytes(record.msg))
        except Exception:  # noqa: BLE001 - __str__ of anything
            return f"<unreadable {type(record.msg).__name__}>"
        if not record.args:
            return message
        try:
            return str(message % _arguments(record.args))
        except Exception:  # noqa: BLE001 - wrong placeholders, or a __repr__ that raises
            return f"{message} (its arguments do not fit)"

    @staticmethod
    def _context(record: logging.LogRecord, plainer: Plainer, budget: int) -> dict[str, Any]:
        given = getattr(record, "context", None)
        reference = getattr(record, "k8s_ref", None)
        context: dict[str, Any] = {}
        if isinstance(reference, dict):
            named = {field: reference[field] for field in _OBJECT_FIELDS if reference.get(field)}
            context["object"] = plainer.value(named)
        if given is None and record.name.partition(".")[0] not in _OWN_LOGGERS:
            context["logger"] = plainer.text(record.name, limit=200)
        failure = record.exc_info[1] if record.exc_info else None
        if failure is not None:
            context["exception"] = plainer.text(_described(failure), limit=budget // 8)
            context["traceback"] = plainer.text(_traceback(failure), limit=budget // 4, tail=True)
        if record.stack_info:
            context["stack"] = plainer.text(str(record.stack_info), limit=budget // 8, tail=True)
        if given is not None:
            # What the caller says wins over what was found out here.
            context |= plainer.context(given)
        return context


class _Bytes:
    """Stands for bytes in a message, whichever way they are formatted."""

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        self._text = f"<{memoryview(value).nbytes} bytes>"

    def __repr__(self) -> str:
        return self._text


def _without_bytes(value: object) -> object:
    return _Bytes(value) if isinstance(value, bytes | bytearray | memoryview) else value


def _arguments(arguments: Any) -> Any:  # noqa: ANN401 - what logging accepts as arguments
    if isinstance(arguments, dict):
        return {name: _without_bytes(value) for name, value in arguments.items()}
    if isinstance(arguments, tuple):
        return tuple(map(_without_bytes, arguments))
    return arguments


def _described(failure: BaseException) -> str:
    try:
        return f"{type(failure).__name__}: {failure}"
    except Exception:  # noqa: BLE001 - __str__ of anything
        return type(failure).__name__


def _traceback(failure: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(failure))
    except Exception:  # noqa: BLE001 - __str__, __cause__ or a source file of anything
        return type(failure).__name__
