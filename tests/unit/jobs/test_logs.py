import array
import asyncio
import base64
import dataclasses
import io
import json
import logging
import re
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from azaion_jobs import logs
from azaion_jobs.logs import LINE_BYTES, REDACTED, JsonFormatter, Redactor

KEYS = ["timestamp", "level", "service", "message", "context"]


def a_record(
    message: object = "Epoch 45/120 completed",
    *args: object,
    name: str = "azaion_jobs.training",
    **extra: object,
) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.INFO, __file__, 1, message, args, None)
    record.__dict__.update(extra)
    return record


def line_of(record: logging.LogRecord, *secrets: str) -> str:
    redactor = Redactor()
    redactor.register(secrets)
    return JsonFormatter("training", redactor).format(record)


def parsed(record: logging.LogRecord, *secrets: str) -> dict[str, Any]:
    """The line as JSON, checked for what holds of every line."""
    line = line_of(record, *secrets)
    assert line.splitlines() == [line]
    assert len(line.encode()) <= LINE_BYTES
    document: dict[str, Any] = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert list(document) == KEYS
    assert isinstance(document["message"], str)
    assert isinstance(document["context"], dict)
    return document


def message_of(message: object, *args: object, secrets: tuple[str, ...] = ()) -> str:
    message = parsed(a_record(message, *args), *secrets)["message"]
    assert isinstance(message, str)
    return message


def context_of(context: object, *secrets: str) -> Any:
    return parsed(a_record(context=context), *secrets)["context"]


# --- format ---


def test_a_line_looks_as_agreed() -> None:
    record = a_record(context={"epoch": 45, "loss": 0.0234, "mAP50": 0.891})
    record.created = datetime(2026, 3, 28, 14, 30, 0, 123_999, UTC).timestamp()
    assert line_of(record) == (
        '{"timestamp": "2026-03-28T14:30:00.123Z", "level": "INFO", "service": "training",'
        ' "message": "Epoch 45/120 completed", "context": {"epoch": 45, "loss": 0.0234, "mAP50": 0.891}}'
    )


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (logging.CRITICAL, "ERROR"),
        (logging.ERROR, "ERROR"),
        (logging.WARNING, "WARN"),
        (25, "INFO"),
        (logging.INFO, "INFO"),
        (logging.DEBUG, "DEBUG"),
        (1, "DEBUG"),
    ],
)
def test_there_are_four_levels(number: int, name: str) -> None:
    record = a_record()
    record.levelno = number
    assert parsed(record)["level"] == name


def test_text_stays_readable() -> None:
    assert '"Модель готова 🚀"' in line_of(a_record("Модель готова 🚀"))


def test_libraries_are_named_and_our_own_modules_are_not() -> None:
    assert parsed(a_record(name="urllib3.pool"))["context"] == {"logger": "urllib3.pool"}
    assert parsed(a_record(name="azaion_operator.app"))["context"] == {}


def test_the_object_kopf_speaks_of_becomes_context_and_its_settings_do_not() -> None:
    record = a_record(
        name="kopf.objects",
        settings=object(),
        k8s_skip=False,
        k8s_ref={"apiVersion": "v1", "kind": "TrainingRun", "name": "a", "uid": "u", "namespace": "azaion"},
    )
    assert parsed(record)["context"] == {
        "object": {"kind": "TrainingRun", "name": "a", "namespace": "azaion"},
        "logger": "kopf.objects",
    }


def test_a_traceback_goes_into_the_context_without_secrets() -> None:
    with pytest.raises(ValueError, match="hunter2") as caught:
        int("password=hunter2")
    context = parsed(a_record("Failed", exc_info=(caught.type, caught.value, caught.tb)))["context"]
    assert context["exception"].startswith("ValueError: invalid literal")
    assert context["traceback"].startswith("Traceback (most recent call last):")
    assert "hunter2" not in json.dumps(context)


def test_of_a_long_traceback_the_end_stays() -> None:
    def fall(depth: int, text: str) -> None:
        if depth:
            fall(depth - 1, text)
        raise ValueError(text)

    with pytest.raises(ValueError, match="the end") as caught:
        fall(40, "the end")
    chain: BaseException = caught.value
    for number in range(200):
        link = RuntimeError(f"link {number}")
        link.__cause__ = chain
        chain = link
    context = parsed(a_record(exc_info=(type(chain), chain, None)))["context"]
    assert context["traceback"].endswith("RuntimeError: link 199\n")


# --- contents of every kind ---


class Colour(Enum):
    RED = "red"


class Code(IntEnum):
    BAD = 64


@dataclasses.dataclass
class Login:
    user: str
    password: str


class Model(BaseModel):
    password: SecretStr


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__

    def __len__(self) -> int:
        raise RuntimeError("no")


class HostileMapping(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (0.5, 0.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (10**5000, "<integer of 16610 bits>"),
        (2**63, 2**63),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (Colour.RED, "red"),
        (Code.BAD, 64),
        (Path("/azaion"), "PosixPath('/azaion')"),
        (datetime(2026, 3, 28, tzinfo=UTC), "2026-03-28T00:00:00+00:00"),
        (1 + 2j, "(1+2j)"),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (ValueError("x"), "ValueError: x"),
        (Login("me", "hunter2"), {"user": "me", "password": REDACTED}),
        (Model(password=SecretStr("hunter2")), "Model(password=[redacted]))"),
        (Hostile(), "<unreadable Hostile>"),
        (HostileMapping(), "<unreadable HostileMapping>"),
        ({1: 2, None: 3, Colour.RED: 4}, {"1": 2, "None": 3, "red": 4}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_of_value_has_a_form(value: object, expected: object) -> None:
    assert context_of({"value": value}) == {"value": expected}


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xd8\xff\xe0",
        bytearray(4),
        memoryview(b"\xff\xd8\xff\xe0"),
        array.array("B", b"abcd"),
        np.zeros((2, 2), "u1"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bytes_are_never_shown(value: Any) -> None:
    assert context_of({"a": value, "b": [value]}) == {"a": "<4 bytes>", "b": ["<4 bytes>"]}


def test_bytes_are_not_shown_in_messages_either() -> None:
    image = b"\xff\xd8'\"\n"
    assert message_of("Got %s and %r", image, image) == "Got <5 bytes> and <5 bytes>"
    assert message_of("Got %(image)s", {"image": image}) == "Got <5 bytes>"
    assert message_of(image) == "<5 bytes>"
    assert message_of(f"Got {image!r} and {[image]}") == "Got <5 bytes> and [<5 bytes>]"
    assert message_of("%s", ValueError(image)) == "<5 bytes>"


def test_a_circle_is_broken() -> None:
    circle: dict[str, Any] = {"name": "a"}
    circle["self"] = circle
    shared = [1]
    assert context_of(circle) == {"name": "a", "self": "<circular>"}
    # The same thing twice is no circle.
    assert context_of({"a": shared, "b": shared}) == {"a": [1], "b": [1]}


def test_depth_is_bounded() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    assert "<list of 1>" in json.dumps(context_of({"deep": deep}))


def test_a_context_that_is_no_mapping_is_kept_all_the_same() -> None:
    assert context_of([1, 2]) == {"value": [1, 2]}
    assert context_of(HostileMapping()) == {"value": "<unreadable HostileMapping>"}


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "a\x85b", "a\u2028b", "a\u2029b", "a\x1cb", "a\x0cb", "\x1b[31m", "\x9b31m"]
)
def test_no_character_breaks_the_line(text: str) -> None:
    line = line_of(a_record(text, context={text: text}))
    assert line.isprintable()
    assert json.loads(line)["message"] == text


def test_a_lone_surrogate_does_not_break_the_line() -> None:
    assert message_of("bad \udcff name") == "bad ? name"


@pytest.mark.parametrize("filler", ["x", "\x00", "🚀", "\u2028"])
def test_a_line_is_never_longer_than_the_runtime_takes(filler: str) -> None:
    document = parsed(a_record(filler * 10**6, context={"a": filler * 10**6, "b": [filler] * 10**5}))
    assert document["message"].startswith(filler * 100)
    assert document["message"].endswith("…")


def test_wrong_arguments_do_not_lose_the_message() -> None:
    assert message_of("%d epochs of %s", "many") == "%d epochs of %s (its arguments do not fit)"
    assert message_of("%s", Hostile()) == "%s (its arguments do not fit)"
    assert message_of(Hostile()) == "<unreadable Hostile>"


def test_a_record_that_makes_no_sense_still_gives_a_line() -> None:
    record = a_record()
    record.created = float("nan")
    record.levelno = 30
    record.exc_info = "nonsense"  # type: ignore[assignment]
    assert parsed(record)["level"] == "WARN"


def test_a_record_that_cannot_be_formatted_still_gives_a_line() -> None:
    document = parsed(a_record(name=None))  # type: ignore[arg-type]
    assert document["message"] == "A log record could not be formatted."
    assert document["context"] == {"exception": "AttributeError"}


def test_an_exception_that_cannot_be_shown_is_named() -> None:
    class HostileError(Hostile, Exception): ...

    context = parsed(a_record(exc_info=(HostileError, HostileError(), None)))["context"]
    assert context["exception"] == "HostileError"
    assert "HostileError" in context["traceback"]


def test_a_stack_goes_into_the_context() -> None:
    assert parsed(a_record(stack_info="Stack\n  token=hunter2"))["context"] == {
        "stack": f"Stack\n  token={REDACTED}"
    }


def test_of_too_much_context_the_beginning_stays() -> None:
    context = context_of({"first": 1, "list": ["x" * 3000] * 50, "last": 1})
    assert context["first"] == 1
    assert context["list"][0] == "x" * 3000
    assert re.fullmatch(r"… \d+ more", context["list"][-1])
    assert "last" not in context
    assert context["…"] == "1 more"


def test_message_traceback_and_context_all_get_their_share() -> None:
    huge = "x" * 10**6
    record = a_record(
        huge, exc_info=(ValueError, ValueError(huge), None), stack_info=huge, context={"epoch": 7}
    )
    context = parsed(record)["context"]
    assert set(context) == {"exception", "traceback", "stack", "epoch"}
    assert context["epoch"] == 7


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.complex_numbers()
    | st.builds(Hostile)
    | st.sampled_from([Colour.RED, Code.BAD, HostileMapping(), Login("a", "b"), int, ValueError("x")]),
    lambda inner: st.lists(inner)
    | st.tuples(inner, inner)
    | st.frozensets(st.integers())
    | st.dictionaries(st.text(st.characters()) | st.integers() | st.binary() | st.none(), inner),
    max_leaves=40,
)


@given(message=ANYTHING, args=st.lists(ANYTHING, max_size=3), context=ANYTHING)
def test_any_record_gives_exactly_one_line_of_json(
    message: object, args: list[object], context: object
) -> None:
    parsed(a_record(message, *args, context=context, k8s_ref=context))


@given(st.text(st.characters(), max_size=50), st.text(st.characters(), max_size=50))
def test_a_registered_secret_is_in_no_line(before: str, after: str) -> None:
    secret = "Corr3ct-h0rse/battery"
    text = before + secret + after
    line = line_of(
        a_record(text, context={"a": text, text: [text]}, exc_info=(None, ValueError(text), None)), secret
    )
    assert secret not in line


# --- redaction ---


@pytest.mark.parametrize(
    "name",
    [
        *("password", "PASSWORD", "apiPassword", "db_passwd", "pwd", "token", "accessToken", "refresh-token"),
        *(
            "secret",
            "client_secret",
            "key",
            "apiKey",
            "API_KEY",
            "downloader_access_key",
            "privateKey",
            "sshKey",
        ),
        *("Authorization", "proxy-authorization", "salt", "api-key-salt", "modelPhrase", "passphrase"),
        *("Cookie", "credentials", "AZAION_API_KEY_SALT", "broker-password"),
    ],
)
def test_a_name_makes_a_secret(name: str) -> None:
    assert context_of({name: "hunter2", "deep": [{name: {"a": "hunter2"}}]}) == {
        name: REDACTED,
        "deep": [{name: REDACTED}],
    }
    assert message_of(f"{name}=hunter2, next") == f"{name}={REDACTED}, next"
    assert message_of(f"{name}: hunter2") == f"{name}: {REDACTED}"
    assert message_of(json.dumps({name: "hunter2 and more", "x": 1})) == json.dumps(
        {name: "R", "x": 1}
    ).replace('"R"', REDACTED)


@pytest.mark.parametrize(
    "name", ["epoch", "monkey", "keyboard", "basalt", "keep", "author", "message", "kind"]
)
def test_other_names_do_not(name: str) -> None:
    assert context_of({name: "value"}) == {name: "value"}
    assert message_of(f"{name}=value") == f"{name}=value"


def test_whether_there_is_a_secret_may_be_said() -> None:
    assert context_of({"password": None, "token": True}) == {"password": None, "token": True}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc.hunter2.def",
        "header bearer hunter2hunter2",
        "https://user:hunter2@host/path",
        "GET /x?token=hunter2&y=1",
        '{"password": "with \\"hunter2\\" inside"}',
        '"{\\"password\\": \\"hunter2\\"}"',
        "password='hunter2 and more hunter2'",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2",
        "eyJhbGciOi.hunter2hunter2.sig",
    ],
)
def test_secrets_are_known_by_their_form(text: str) -> None:
    assert "hunter2" not in message_of(text)


@pytest.mark.parametrize(
    "secret", ["hunter2", "with \"quotes\" & 'more'", "back\\slash", "ключ", "a+b/c=d e", "tab\tnew\nline"]
)
def test_a_registered_value_is_known_in_its_usual_encodings(secret: str) -> None:
    forms = [
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        repr(secret),
        base64.b64encode(secret.encode()).decode(),
    ]
    for form in forms:
        seen = message_of(f"before {form} after", secrets=(secret,))
        assert re.fullmatch(rf"before ['\"]?{re.escape(REDACTED)}['\"]? after", seen)


def test_a_numeric_secret_is_known_as_a_number() -> None:
    assert context_of({"a": 271828, "b": 2718, "c": [271828]}, "271828") == {
        "a": REDACTED,
        "b": 2718,
        "c": [REDACTED],
    }


def test_the_longer_of_two_secrets_is_replaced_whole() -> None:
    assert message_of("hunter2extra", secrets=("hunter2", "hunter2extra")) == REDACTED


def test_a_very_short_secret_does_not_make_texts_unreadable() -> None:
    assert message_of("a cat and a map", secrets=("a",)) == f"{REDACTED} cat and {REDACTED} map"


def test_blank_values_are_not_registered() -> None:
    assert message_of("a b", secrets=("", " ")) == "a b"


@pytest.mark.parametrize("position", [65_536 - 5, 65_536 - 1])
def test_a_secret_at_the_edge_of_what_is_searched_is_not_shown_in_part(position: int) -> None:
    # The long run of bytes shrinks to a few characters, so that the edge would be seen.
    literal = repr(b"\xff" * 16_000)
    text = literal + " " * (position - len(literal)) + "hunter2hunter2"
    assert "hunt" not in message_of(text, secrets=("hunter2hunter2",))
    assert " h" not in message_of(text, secrets=("hunter2hunter2",))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "unit",
    [
        "a-",
        "key",
        "password ",
        "eyJ-",
        "b'",
        'b"x',
        "x://",
        "-----BEGIN PRIVATE KEY-----",
        "\\",
        "token:",
        '"',
        "bearer ",
    ],
)
def test_no_text_makes_logging_slow(unit: str) -> None:
    # With a quadratic pattern this takes minutes, else milliseconds.
    for _ in range(5):
        parsed(a_record(unit * 200_000))


# --- set-up ---


Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Answers what has been logged to stdout; whatever `configure` changes is put back."""
    root = logging.getLogger()
    loggers = [root, logging.getLogger("azaion_jobs"), logging.getLogger("azaion_operator")]
    levels = [logger.level for logger in loggers]
    handlers = root.handlers[:]
    hooks = [
        (sys, "excepthook"),
        (sys, "unraisablehook"),
        (threading, "excepthook"),
        (warnings, "showwarning"),
    ]
    for owner, name in hooks:
        monkeypatch.setattr(owner, name, getattr(owner, name))
    old_signal = signal.getsignal(signal.SIGUSR1)

    def logged() -> list[dict[str, Any]]:
        documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert all(list(document) == KEYS for document in documents)
        return documents

    yield logged
    signal.signal(signal.SIGUSR1, old_signal)
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_after_configure_everything_is_a_line_on_stdout(lines: Lines) -> None:
    logs.configure(service="prepare")
    logs.configure(service="release")
    logging.getLogger("azaion_jobs.x").info("ours", extra={"context": {"a": 1}})
    logging.getLogger("library").warning("theirs")
    assert [(line["service"], line["message"]) for line in lines()] == [
        ("release", "ours"),
        ("release", "theirs"),
    ]


def test_an_unknown_service_is_refused() -> None:
    with pytest.raises(ValueError, match="the services are training, annotation-queue, operator"):
        logs.configure(service="trainer")  # type: ignore[arg-type]


def test_debug_can_be_switched_on_for_our_own_modules(lines: Lines) -> None:
    logs.configure(service="training")
    for level in ("INFO", "DEBUG", "warn"):
        logs.set_level(level)
        logging.getLogger("azaion_jobs.x").debug("ours at %s", level)
        logging.getLogger("urllib3").debug("theirs, with headers")
    assert [(line["level"], line["message"]) for line in lines()] == [("DEBUG", "ours at DEBUG")]
    with pytest.raises(ValueError, match="'LOUD' is not a log level"):
        logs.set_level("LOUD")


def test_a_signal_switches_debug_on_and_off(lines: Lines) -> None:
    logs.configure(service="training")
    for number in range(3):
        logging.getLogger("azaion_jobs.x").debug("%d", number)
        signal.raise_signal(signal.SIGUSR1)
    assert [line["message"] for line in lines()] == ["1"]


def test_configure_works_outside_the_main_thread(lines: Lines) -> None:
    thread = threading.Thread(target=lambda: logs.configure(service="training"))
    thread.start()
    thread.join()
    logging.getLogger("azaion_jobs.x").info("here")
    assert [line["message"] for line in lines()] == ["here"]


def test_warnings_are_lines(lines: Lines) -> None:
    logs.configure(service="training")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # catch_warnings has put its own in place of ours for the time being.
        warnings.showwarning = logs._setup._show_warning
        warnings.warn("old\nways, token=hunter2", DeprecationWarning, stacklevel=1)
    (line,) = lines()
    assert (line["level"], line["message"]) == ("WARN", f"old\nways, token={REDACTED}")
    assert line["context"]["category"] == "DeprecationWarning"


def test_uncaught_exceptions_are_lines(lines: Lines) -> None:
    logs.configure(service="training")
    failure = RuntimeError("password=hunter2")
    sys.excepthook(RuntimeError, failure, None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    uncaught, interrupted = lines()
    assert (uncaught["level"], uncaught["context"]["exception"]) == (
        "ERROR",
        f"RuntimeError: password={REDACTED}",
    )
    assert interrupted["level"] == "WARN"


def test_uncaught_exceptions_in_threads_are_lines(lines: Lines) -> None:
    logs.configure(service="training")

    def fail() -> None:
        raise RuntimeError("in a thread")

    # pytest watches threads in its own way; ours is what configure has put there.
    for target in (fail, sys.exit):
        thread = threading.Thread(target=target, name="reader")
        thread.start()
        thread.join()
    (line,) = lines()
    assert line["context"]["exception"] == "RuntimeError: in a thread"
    assert line["context"]["thread"] == "reader"


def test_exceptions_that_cannot_be_raised_are_lines(lines: Lines) -> None:
    logs.configure(service="training")
    unraisable = types.SimpleNamespace(
        exc_type=RuntimeError, exc_value=None, exc_traceback=None, err_msg=None, object=Hostile()
    )
    sys.unraisablehook(unraisable)
    (line,) = lines()
    assert (line["message"], line["context"]["object"]) == ("Exception ignored", "Hostile")


async def test_an_event_loop_can_hand_in_what_it_cannot_place(lines: Lines) -> None:
    logs.configure(service="operator")
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.asyncio_exception_handler)
    loop.call_exception_handler({"message": "Task failed", "exception": RuntimeError("x"), "task": Hostile()})
    loop.call_exception_handler({"message": "token=hunter2"})
    failed, other = lines()
    assert (failed["message"], failed["context"]["exception"]) == ("Task failed", "RuntimeError: x")
    assert failed["context"]["task"] == "<unreadable Hostile>"
    assert other["message"] == f"token={REDACTED}"


def test_registered_secrets_are_removed_from_lines_and_from_other_texts(lines: Lines) -> None:
    logs.configure(service="training")
    logs.register_secrets(["a-value-only-this-test-knows"])
    logging.getLogger("azaion_jobs.x").info("got a-value-only-this-test-knows")
    assert [line["message"] for line in lines()] == [f"got {REDACTED}"]
    assert logs.redact("a-value-only-this-test-knows") == REDACTED


def test_a_stream_that_is_not_utf8_gets_the_same_text() -> None:
    buffer = io.BytesIO()
    handler = logs._setup._LineHandler(io.TextIOWrapper(buffer, encoding="ascii", write_through=True))
    handler.setFormatter(JsonFormatter("training", Redactor()))
    handler.handle(a_record("Модель 🚀"))
    assert json.loads(buffer.getvalue().decode("ascii"))["message"] == "Модель 🚀"


def test_a_stream_that_is_gone_ends_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    handler = logs._setup._LineHandler(stream)
    handler.setFormatter(JsonFormatter("training", Redactor()))
    handler.handle(a_record())


def test_lines_of_several_threads_do_not_mix(lines: Lines) -> None:
    logs.configure(service="training")
    log = logging.getLogger("azaion_jobs.x")

    def speak() -> None:
        for number in range(50):
            log.info("x" * 1000, extra={"context": {"n": number}})

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines()) == 200
