"""Which image belongs to which split: a pure function of the names, the seed and the percentages."""

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

_ALL = 100
_VARIANTS = frozenset("1234567")


@dataclass(frozen=True, slots=True)
class Percentages:
    """How a dataset is divided; train is what valid and test leave."""

    train: int = 70
    valid: int = 20
    test: int = 10

    def __post_init__(self) -> None:
        """Refuse what leaves a split of a training empty on purpose."""
        if min(self.train, self.valid) < 1 or self.test < 0 or self.train + self.valid + self.test != _ALL:
            msg = (
                f"The split {self.train}/{self.valid}/{self.test} is impossible: train and valid need at"
                " least 1 percent, and the three must add up to 100."
            )
            raise ValueError(msg)

    def counts(self, groups: int) -> tuple[int, int]:
        """How many of so many groups go to valid and to test; train keeps one as long as there are two."""
        valid = groups * self.valid // _ALL
        if groups > 1:
            valid = max(valid, 1)
        return valid, min(groups * self.test // _ALL, max(groups - valid - 1, 0))


def original_of(stem: str, listed: Collection[str]) -> str:
    """The image that this one is a variant of, itself if of none.

    `{stem}_1` to `{stem}_7` are variants of `{stem}`, as long as that is listed too.
    """
    while is_variant(stem, listed):
        stem = stem[:-2]
    return stem


def is_variant(stem: str, listed: Collection[str]) -> bool:
    """Whether this is the name of a variant of an image that is listed."""
    return stem[-2:-1] == "_" and stem[-1] in _VARIANTS and stem[:-2] in listed


def assign(groups: Iterable[str], seed: int, percentages: Percentages) -> dict[str, str]:
    """The split of each group.

    The order is that of SHA-256, which a new group does not change for the others: as a dataset grows, only
    groups at the two borders change their split, never more of them at a border than groups were added twice
    over.
    """
    ordered = sorted(set(groups), key=lambda group: (_rank(seed, group), group))
    valid, test = percentages.counts(len(ordered))
    return {
        group: "valid" if place < valid else "test" if place < valid + test else "train"
        for place, group in enumerate(ordered)
    }


def _rank(seed: int, group: str) -> bytes:
    # A name that is not Unicode has no place in a dataset, but must not stop the listing.
    return hashlib.sha256(f"{seed}/{group}".encode("utf-8", "surrogateescape")).digest()


def split_of_each(
    stems: Collection[str],
    seed: int,
    percentages: Percentages,
    medium_of: Callable[[str], str | None] = lambda _: None,
) -> dict[str, str]:
    """The split of each image; `medium_of` an original keeps the images of a medium together, where known."""
    groups: dict[str, str] = {}
    for stem in stems:
        original = original_of(stem, stems)
        groups[stem] = medium_of(original) or original
    splits = assign(groups.values(), seed, percentages)
    return {stem: splits[group] for stem, group in groups.items()}
