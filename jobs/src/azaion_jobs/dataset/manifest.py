"""The manifest of a dataset: what is in it, whether that is still so, and how it differs from another's.

Standard library alone, so that the supervisor of a training can check its dataset. Besides manifest.json a
dataset has files.txt, a sorted line for each image: `split/name`, the bytes of the image and the SHA-256 of
the label, with tabs between. The hash of the dataset is the SHA-256 of these lines.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from azaion_jobs.tree import SPLITS, DatasetFolder

VERSION: Final = 1

_NAMED = 5
_DIGEST_CHARACTERS = 64


class ManifestError(Exception):
    """A folder has no usable manifest; the message is one sentence that names the file."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One image of a dataset."""

    split: str
    stem: str
    image_bytes: int
    label_sha256: str

    @property
    def name(self) -> str:
        """Where it stands, such as `train/one`."""
        return f"{self.split}/{self.stem}"

    @property
    def line(self) -> str:
        """The line of files.txt."""
        return f"{self.split}/{self.stem}\t{self.image_bytes}\t{self.label_sha256}\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """The entry of a line of files.txt; ValueError if it is none."""
        name, size, digest = line.rstrip("\n").split("\t")
        split, slash, stem = name.partition("/")
        if split not in SPLITS or not slash or not stem or len(digest) != _DIGEST_CHARACTERS:
            raise ValueError(line)
        return cls(split, stem, int(size), digest)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of something stands in a split."""

    images: int = 0
    objects: int = 0


@dataclass(frozen=True, slots=True)
class Corrupt:
    """A pair that was left out, and why; `line` is that of the label, None where the whole is bad."""

    name: str
    reason: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """How often a class occurs in each split."""

    id: int
    name: str
    splits: Mapping[str, Amount]


@dataclass(frozen=True, slots=True)
class Media:
    """How many known media the images come from, and how many of these stand in more than one split."""

    known: int = 0
    in_two_splits: int = 0

    @property
    def share(self) -> float:
        """Of the known media, those in more than one split."""
        return self.in_two_splits / self.known if self.known else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What stands in manifest.json."""

    created: str
    run: str
    """The UID of the run that the dataset was formed for; empty when made by hand."""
    source: str
    """The annotation folder, `data` or `data-processed`."""
    seed: int
    group_by: str
    split: Mapping[str, int]
    counts: Mapping[str, Amount]
    classes: tuple[ClassCounts, ...]
    """Those that occur."""
    unmeasured: tuple[str, ...]
    """Classes with objects in train and none in valid: no figure of a training speaks of them."""
    media: Media
    corrupt: tuple[Corrupt, ...] = ()
    repaired: tuple[str, ...] = ()
    """Images that are no links to their source, because they had to be encoded anew."""
    variants_left_out: int = 0
    copied: int = 0
    """Images that could not be linked."""
    classes_sha256: str
    description_sha256: str
    hash: str
    version: int = field(default=VERSION)

    def to_json(self) -> str:
        """The text of manifest.json."""
        document = {
            "version": self.version,
            "created": self.created,
            "run": self.run,
            "source": self.source,
            "seed": self.seed,
            "groupBy": self.group_by,
            "split": dict(self.split),
            "counts": {split: asdict(self.counts[split]) for split in SPLITS},
            "classes": [
                {"id": one.id, "name": one.name}
                | {"splits": {split: asdict(one.splits[split]) for split in SPLITS}}
                for one in self.classes
            ],
            "unmeasured": list(self.unmeasured),
            "media": {
                "known": self.media.known,
                "inTwoSplits": self.media.in_two_splits,
                "share": round(self.media.share, 6),
            },
            "corrupt": [asdict(one) for one in self.corrupt],
            "repaired": list(self.repaired),
            "variantsLeftOut": self.variants_left_out,
            "copied": self.copied,
            "classesSha256": self.classes_sha256,
            "descriptionSha256": self.description_sha256,
            "hash": self.hash,
        }
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read manifest.json; fields this version does not know are skipped. Raises ManifestError."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            msg = "it is not JSON"
            raise ManifestError(msg) from None
        version = document.get("version") if isinstance(document, dict) else None
        if version != VERSION:
            msg = f"its version is {version!r}, and this software reads {VERSION}"
            raise ManifestError(msg)
        try:
            return cls._from_document(document)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            msg = f"it is incomplete or wrong ({type(error).__name__}: {error})"
            raise ManifestError(msg) from None

    @classmethod
    def _from_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            created=str(document["created"]),
            run=str(document["run"]),
            source=str(document["source"]),
            seed=int(document["seed"]),
            group_by=str(document["groupBy"]),
            split={name: int(document["split"][name]) for name in SPLITS},
            counts=_amounts(document["counts"]),
            classes=tuple(
                ClassCounts(int(one["id"]), str(one["name"]), _amounts(one["splits"]))
                for one in document["classes"]
            ),
            unmeasured=tuple(map(str, document["unmeasured"])),
            media=Media(int(document["media"]["known"]), int(document["media"]["inTwoSplits"])),
            corrupt=tuple(
                Corrupt(str(one["name"]), str(one["reason"]), one["line"]) for one in document["corrupt"]
            ),
            repaired=tuple(map(str, document["repaired"])),
            variants_left_out=int(document["variantsLeftOut"]),
            copied=int(document["copied"]),
            classes_sha256=str(document["classesSha256"]),
            description_sha256=str(document["descriptionSha256"]),
            hash=str(document["hash"]),
        )

    @property
    def images(self) -> int:
        """In all splits."""
        return sum(amount.images for amount in self.counts.values())


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of the images of one dataset in a later one; names without split, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    relabelled: tuple[str, ...]
    moved: tuple[tuple[str, str, str], ...]
    """Name, split before, split after."""


def read(folder: Path) -> Manifest:
    """The manifest of the dataset in this folder; raises ManifestError."""
    file = DatasetFolder(folder).manifest
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        msg = f"{file} is missing: {folder} is no complete dataset."
        raise ManifestError(msg) from None
    try:
        return Manifest.from_json(content)
    except ManifestError as error:
        msg = f"{file} cannot be used: {error}."
        raise ManifestError(msg) from None


def digest(lines: Iterable[str]) -> str:
    """The hash of a dataset whose sorted lines these are."""
    sha = hashlib.sha256()
    for line in lines:
        sha.update(line.encode())
    return sha.hexdigest()


def entries(folder: Path) -> list[Entry]:
    """The images as files.txt lists them; raises ManifestError if it is not the list of this dataset."""
    manifest = read(folder)
    file = DatasetFolder(folder).files
    try:
        content = file.read_bytes()
        listed = [Entry.from_line(line) for line in content.decode().splitlines()]
    except FileNotFoundError:
        msg = f"{file} is missing; form the dataset again."
        raise ManifestError(msg) from None
    except ValueError:
        msg = f"{file} is damaged; form the dataset again."
        raise ManifestError(msg) from None
    if hashlib.sha256(content).hexdigest() != manifest.hash:
        msg = f"{file} does not belong to the manifest beside it; form the dataset again."
        raise ManifestError(msg)
    return listed


def verify(folder: Path, expected_hash: str = "") -> list[str]:
    """Everything in which the dataset is not what its manifest, or `expected_hash`, says; a sentence each.

    Reads every label and looks at every image, so it takes seconds where there are many.
    """
    try:
        manifest = read(folder)
    except ManifestError as error:
        return [str(error)]
    problems = []
    if expected_hash and manifest.hash != expected_hash:
        problems.append(
            f"The dataset {folder.name} has the hash {manifest.hash}, but {expected_hash} was asked for."
        )
    try:
        listed = entries(folder)
    except ManifestError as error:
        return [*problems, str(error)]
    problems += _wrong_counts(folder, manifest, listed)
    problems += _changed_files(folder, listed)
    description = DatasetFolder(folder).description
    try:
        described = hashlib.sha256(description.read_bytes()).hexdigest()
    except FileNotFoundError:
        return [*problems, f"{description} is missing; form the dataset again."]
    if described != manifest.description_sha256:
        problems.append(f"{description} has changed since its manifest was written; form the dataset again.")
    return problems


def trainable(manifest: Manifest) -> list[str]:
    """Why nothing can be trained on this dataset, a sentence each; empty if something can."""
    reasons = []
    for split, purpose in (("train", "learn from"), ("valid", "measure by")):
        amount = manifest.counts[split]
        if not amount.images:
            reasons.append(f"The split {split} has no image: there is nothing to {purpose}.")
        elif not amount.objects:
            reasons.append(f"The split {split} has no object on any image: there is nothing to {purpose}.")
    return reasons


def difference(before: Path, after: Path) -> Difference:
    """Compare the datasets in two folders; raises ManifestError if one of them has no usable lists."""
    old = {entry.stem: entry for entry in entries(before)}
    new = {entry.stem: entry for entry in entries(after)}
    both = sorted(old.keys() & new.keys())
    return Difference(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        relabelled=tuple(stem for stem in both if old[stem].label_sha256 != new[stem].label_sha256),
        moved=tuple(
            (stem, old[stem].split, new[stem].split) for stem in both if old[stem].split != new[stem].split
        ),
    )


def scan(folder: Path) -> Iterator[Entry]:
    """The images of a dataset as they lie on the disk, sorted like the lines of files.txt.

    An image without a label has an empty digest.
    """
    dataset = DatasetFolder(folder)
    # As the lines are sorted: test, train, valid.
    for split in sorted(SPLITS):
        parts = dataset.split(split)
        try:
            with os.scandir(parts.images) as found:
                sizes = {
                    entry.name.removesuffix(".jpg"): entry.stat(follow_symlinks=False).st_size
                    for entry in found
                    if not entry.name.startswith(".")
                }
        except FileNotFoundError:
            continue
        labels = os.fspath(parts.labels)
        for stem in sorted(sizes):
            yield Entry(split, stem, sizes[stem], _sha256(f"{labels}/{stem}.txt"))


def _sha256(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return ""
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return hashlib.sha256(file.read()).hexdigest()


def _amounts(document: Mapping[str, Any]) -> dict[str, Amount]:
    return {
        split: Amount(images=int(document[split]["images"]), objects=int(document[split]["objects"]))
        for split in SPLITS
    }


def _wrong_counts(folder: Path, manifest: Manifest, listed: Iterable[Entry]) -> Iterator[str]:
    found = dict.fromkeys(SPLITS, 0)
    for entry in listed:
        found[entry.split] += 1
    for split in SPLITS:
        if found[split] != manifest.counts[split].images:
            yield (
                f"The manifest of {folder.name} counts {manifest.counts[split].images} images in {split},"
                f" but lists {found[split]}; form the dataset again."
            )


def _changed_files(folder: Path, listed: Iterable[Entry]) -> Iterator[str]:
    expected = {entry.name: entry for entry in listed}
    added, images, labels = [], [], []
    missing = set(expected)
    for entry in scan(folder):
        known = expected.get(entry.name)
        if known is None:
            added.append(entry.name)
            continue
        missing.discard(entry.name)
        if entry.image_bytes != known.image_bytes:
            images.append(entry.name)
        if entry.label_sha256 != known.label_sha256:
            labels.append(entry.name)
    for names, what in (
        (sorted(missing), "is gone"),
        (added, "was added"),
        (images, "has another image"),
        (labels, "has another label or none"),
    ):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            yield (
                f"The dataset {folder.name} has changed since its manifest was written:"
                f" {', '.join(names[:_NAMED])}{more} {what}."
            )
