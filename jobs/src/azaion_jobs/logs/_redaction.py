"""Removes secrets from what is about to be logged: by value, by name and by form."""

import base64
import json
import re
import threading
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

REDACTED: Final = "[redacted]"

# Words in a name that make its value a secret; `key` and the like only as whole words, for `monkey`'s sake.
_PARTS: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
)
_WORDS: Final = frozenset({"key", "keys", "salt", "pwd", "phrase", "cookie", "cookies", "jwt", "auth"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LONGEST_NAME = 200

# All repetitions below are bounded or end at a character that cannot start the next try: a text made to be
# slow must not stop the logging of a run.
# The tail of a name with such a word in running text, then `=` or `:`, then its value.
_NAMES = (
    r"(?:(?i:" + "|".join(_PARTS) + r")"
    r"|(?<![a-zA-Z])(?i:keys?|salt|pwd|phrase|cookies?|jwt|auth)(?![a-zA-Z])"
    r"|(?<=[a-z])(?:Keys?|Salt|Pwd|Phrase)(?![a-z]))"
)
_ASSIGNMENT = re.compile(
    r"(?P<name>" + _NAMES + r"[\w.-]{0,40}\\?[\"']?\s{0,3}[=:]\s{0,3})"
    r"(?P<value>(?:(?i:bearer|basic|digest)\s{1,3})?"
    r"(?:\\?\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|[^\s,;&\"'}\])]+)+)",
)
_BEARER = re.compile(r"\b(?P<scheme>bearer|basic)\s{1,3}[\w.~+/=-]{8,}", re.IGNORECASE)
_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,20}://)[^\s/@\"'<>]+@", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{5,200}\.[\w-]+(?:\.[\w-]*)?")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
# How Python shows bytes; the length counts what stands between the quotes, an escape as one.
_BYTES = re.compile(r"\b(?:b|rb|br)(?P<quote>['\"])(?P<body>(?:\\.|(?!(?P=quote))[^\\\n])*)(?P=quote)")
_ESCAPE = re.compile(r"\\x[0-9a-f]{2}|\\.|.", re.DOTALL)

_SHORT = 4


class Redactor:
    """Knows the secrets of this process. Any thread may add some at any time."""

    def __init__(self) -> None:
        """Start with no registered value; names and forms are recognised all the same."""
        self._lock = threading.Lock()
        self._forms: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.longest = 0

    def register(self, values: Iterable[str]) -> None:
        """From now on these values are replaced wherever they stand, also in their usual encodings."""
        added = {form for value in values if value.strip() for form in _forms_of(value)}
        with self._lock:
            forms = self._forms | added
            # The longest first: a secret may begin with another one.
            ordered = sorted(forms, key=lambda form: (-len(form), form))
            self._forms = forms
            self._pattern = re.compile("|".join(map(_expression, ordered))) if ordered else None
            self.longest = max(map(len, forms), default=0)

    def text(self, text: str) -> str:
        """The text without secrets, bytes shown as their number."""
        if self._pattern is not None:
            text = self._pattern.sub(REDACTED, text)
        text = _PRIVATE_KEY.sub(REDACTED, text)
        text = _BYTES.sub(lambda match: f"<{len(_ESCAPE.findall(match['body']))} bytes>", text)
        text = _USERINFO.sub(rf"\g<scheme>{REDACTED}@", text)
        text = _JWT.sub(REDACTED, text)
        text = _ASSIGNMENT.sub(rf"\g<name>{REDACTED}", text)
        return _BEARER.sub(rf"\g<scheme> {REDACTED}", text)

    def is_secret_name(self, name: str) -> bool:
        """Whether what goes by this name is a secret."""
        name = name[:_LONGEST_NAME]
        joined = re.sub(r"[^a-z]", "", name.lower())
        if any(part in joined for part in _PARTS):
            return True
        return any(word.lower() in _WORDS for word in _WORD.findall(name))


def _forms_of(value: str) -> Iterator[str]:
    yield value
    yield value.strip()
    yield quote(value, safe="")
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    yield base64.b64encode(value.encode("utf-8", "replace")).decode()


def _expression(form: str) -> str:
    # A very short secret stands for itself only where it is a word of its own, else no text could be read.
    return re.escape(form) if len(form) >= _SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"
