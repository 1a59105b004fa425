"""The rules that a label file must keep to be trained on."""

from dataclasses import dataclass
from typing import Final

from azaion_jobs.dataset.classes import SLOTS

MOST_BYTES: Final = 4 * 1024 * 1024
"""More than any annotated image needs; what is larger is something else under the name of a label."""

_COLUMNS = 5


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a pair of image and label cannot be used, and where in the label."""

    reason: str
    line: int | None = None


class FlawError(Exception):
    """Carries a flaw to whoever decides about the pair."""

    def __init__(self, flaw: Flaw) -> None:
        """Keep the flaw."""
        super().__init__(flaw.reason)
        self.flaw = flaw


def classes_of(label: bytes) -> list[int]:
    """The class of each line of a good label; raises FlawError for the first line that is not.

    Blank lines at the end are no lines. Boxes may reach over the edge of the image, and there may be none.
    """
    if len(label) > MOST_BYTES:
        raise FlawError(Flaw("the label is larger than 4 MiB"))
    try:
        text = label.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FlawError(Flaw("the label is not text")) from None
    # Python reads 1_0 and digits of other scripts as numbers; nobody else does.
    plain = text.isascii() and "_" not in text
    found = []
    for number, line in enumerate(text.rstrip().splitlines(), 1):
        columns = line.split()
        if len(columns) != _COLUMNS:
            raise FlawError(Flaw(f"{len(columns)} columns instead of 5", number))
        try:
            kind = _class(columns[0])
            x, y, width, height = map(float, columns[1:])
        except ValueError:
            kind = x = y = width = height = -1
            plain = False
        if not plain:
            _refuse_what_is_no_number(columns, number)
        if not 0 <= kind < SLOTS:
            raise FlawError(Flaw(f"the class {columns[0][:20]} is not a whole number from 0 to 79", number))
        if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1):
            raise FlawError(Flaw(_bad_coordinate(x, y, width, height), number))
        found.append(kind)
    return found


def _class(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        # 3.0 is the class 3 to every reader; 3.5 and nan are none.
        number = float(text)
        return int(number) if number.is_integer() else -1


def _refuse_what_is_no_number(columns: list[str], line: int) -> None:
    for column in columns:
        try:
            readable = column.isascii() and "_" not in column and float(column) is not None
        except ValueError:
            readable = False
        if not readable:
            raise FlawError(Flaw(f"{column[:20]!r} is not a number", line))


def _bad_coordinate(x: float, y: float, width: float, height: float) -> str:
    for name, value in (("x", x), ("y", y), ("width", width), ("height", height)):
        if not 0 <= value <= 1:
            return f"{name} is {value:g}, but must be from 0 to 1"
    return "the box has no width" if width == 0 else "the box has no height"
