"""Every path below the root of an installation, by name.

Standard library only, so that the supervisor of a training can name its files without loading more. Nothing
here touches the disk. Only `azaion_jobs.config` makes a Tree; no other module spells a name of the tree.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARKER: Final = ".azaion-tree"
OFFSET: Final = "offset.yaml"
CLASSES: Final = "classes.json"
LAST_TRAINING: Final = "checkpoint.txt"
QUEUE: Final = "queue"
DATASETS: Final = "datasets"
MODELS: Final = "models"
STATUS: Final = "status"
LOGS: Final = "logs"
DATA_PROCESSED: Final = "data-processed"
DATA_CORRUPTED: Final = "data-corrupted"

FIXED_NAMES: Final = frozenset(
    {
        MARKER,
        OFFSET,
        CLASSES,
        LAST_TRAINING,
        QUEUE,
        DATASETS,
        MODELS,
        STATUS,
        LOGS,
        DATA_PROCESSED,
        DATA_CORRUPTED,
    }
)
"""Names in the root that no setting can change, and that no settable directory may take."""

SPLITS: Final = ("train", "valid", "test")

_NAME_BYTES = 255


def is_single_part(name: str) -> bool:
    """Whether `name` can be one file or folder: no separator, not `.` or `..`, no control character."""
    return (
        name not in ("", ".", "..")
        and "/" not in name
        and name.isprintable()
        and len(name.encode("utf-8", "replace")) <= _NAME_BYTES
    )


def _part(name: str) -> str:
    if not is_single_part(name):
        msg = f"{name!r} is not the name of one file or folder."
        raise ValueError(msg)
    return name


@dataclass(frozen=True, slots=True)
class AnnotationFolder:
    """Images and their labels, side by side under the same stems."""

    root: Path

    @property
    def images(self) -> Path:
        """The folder of `{stem}.jpg`."""
        return self.root / "images"

    @property
    def labels(self) -> Path:
        """The folder of `{stem}.txt`."""
        return self.root / "labels"

    def image(self, stem: str) -> Path:
        """Where the image of this annotation lies; dots in the stem belong to the stem."""
        return self.images / f"{_part(stem)}.jpg"

    def label(self, stem: str) -> Path:
        """Where the label file of this annotation lies."""
        return self.labels / f"{_part(stem)}.txt"


@dataclass(frozen=True, slots=True)
class QueueFolder:
    """What the annotation queue keeps for itself."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the one consumer for as long as it lives."""
        return self.root / "lock"

    @property
    def tree_lock(self) -> Path:
        """Held by whoever changes annotation folders, while it does."""
        return self.root / "tree.lock"

    @property
    def stage(self) -> Path:
        """Files of a group of messages before they are put in place."""
        return self.root / "stage"

    @property
    def group(self) -> Path:
        """The journal of the group that is being applied."""
        return self.root / "group.json"

    @property
    def media(self) -> Path:
        """Which medium each image was taken from."""
        return self.root / "media.jsonl"

    @property
    def parked(self) -> Path:
        """Messages that could not be used."""
        return self.root / "parked"

    @property
    def replayed(self) -> Path:
        """Parked messages that were applied later."""
        return self.parked / "replayed"

    def parked_message(self, offset: int) -> Path:
        """The raw body of the unusable message at this offset."""
        return self.parked / f"{offset:020d}.msg"

    def parked_description(self, offset: int) -> Path:
        """Why that message could not be used."""
        return self.parked / f"{offset:020d}.json"


@dataclass(frozen=True, slots=True)
class DatasetFolder:
    """One dated dataset."""

    root: Path

    @property
    def description(self) -> Path:
        """The file that ultralytics reads."""
        return self.root / "data.yaml"

    @property
    def manifest(self) -> Path:
        """Counts, seed and hash of the dataset."""
        return self.root / "manifest.json"

    @property
    def files(self) -> Path:
        """A line for each image, whose hash is that of the dataset."""
        return self.root / "files.txt"

    def split(self, name: str) -> AnnotationFolder:
        """The folder of `train`, `valid` or `test`."""
        if name not in SPLITS:
            msg = f"{name!r} is not a split; the splits are {', '.join(SPLITS)}."
            raise ValueError(msg)
        return AnnotationFolder(self.root / name)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One dated model: all that a run writes."""

    root: Path

    @property
    def run(self) -> Path:
        """What was asked for, fully resolved, and the UID of the run that owns the folder."""
        return self.root / "run.json"

    @property
    def told(self) -> Path:
        """What the newest trainer was told: run.json with what the machine forced upon it."""
        return self.root / "told.json"

    @property
    def lease(self) -> Path:
        """The fence of the attempt that may write here."""
        return self.root / "lease.json"

    @property
    def lease_lock(self) -> Path:
        """Locked by the supervisor for as long as it lives."""
        return self.root / "lease.lock"

    @property
    def supervisor(self) -> Path:
        """Batch, flags and budgets that outlive an attempt."""
        return self.root / "supervisor.json"

    @property
    def verdict(self) -> Path:
        """The last word of the last attempt."""
        return self.root / "verdict.json"

    @property
    def checkpoints(self) -> Path:
        """The list of checkpoints that count."""
        return self.root / "checkpoints.json"

    @property
    def progress(self) -> Path:
        """A line for each epoch and event."""
        return self.root / "progress.jsonl"

    @property
    def results(self) -> Path:
        """The table of epochs as ultralytics writes it."""
        return self.root / "results.csv"

    @property
    def weights(self) -> Path:
        """The folder of weights and checkpoints."""
        return self.root / "weights"

    @property
    def last(self) -> Path:
        """The newest weights."""
        return self.weights / "last.pt"

    @property
    def best(self) -> Path:
        """The weights with the best validation."""
        return self.weights / "best.pt"

    @property
    def final(self) -> Path:
        """The whole state at the end, from which the run can be extended."""
        return self.weights / "final.pt"

    def epoch(self, index: int) -> Path:
        """The checkpoint of an epoch; in file names, and only there, epochs count from 0."""
        if index < 0:
            msg = f"Epochs in file names count from 0; {index} is none."
            raise ValueError(msg)
        return self.weights / f"epoch{index}.pt"

    @property
    def report(self) -> Path:
        """Plots and tables for people."""
        return self.root / "report"

    @property
    def staged(self) -> Path:
        """Encrypted parts that wait for promotion."""
        return self.root / "staged"


@dataclass(frozen=True, slots=True)
class ModelsFolder:
    """Base models, the dated models of runs, and the current model."""

    root: Path

    def base(self, name: str) -> Path:
        """A base model, under its own name."""
        return self.root / _part(name)

    def run(self, name: str) -> RunFolder:
        """The folder of one dated model."""
        return RunFolder(self.root / _part(name))

    @property
    def current_weights(self) -> Path:
        """A copy of the promoted run's best weights."""
        return self.root / "azaion.pt"

    @property
    def previous_weights(self) -> Path:
        """The weights that were current before."""
        return self.root / "azaion.pt.prev"

    @property
    def current_onnx(self) -> Path:
        """The promoted run's export."""
        return self.root / "azaion.onnx"

    @property
    def current(self) -> Path:
        """Says which run is current; writing it commits a promotion."""
        return self.root / "current.json"

    @property
    def publish(self) -> Path:
        """State of publishing."""
        return self.root / "publish"

    def published(self, resource: str) -> Path:
        """Hashes of one published resource."""
        return self.publish / f"{_part(resource)}.json"

    def big_part(self, resource: str) -> Path:
        """The local copy of a resource's big part."""
        return self.root / f"{_part(resource)}.big"


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree of one installation; made by `azaion_jobs.config.Config.tree`."""

    root: Path
    data_name: str
    data_seed_name: str
    data_deleted_name: str

    @property
    def marker(self) -> Path:
        """Proof that the disk is mounted and whose tree this is."""
        return self.root / MARKER

    @property
    def data(self) -> AnnotationFolder:
        """Validated annotations."""
        return AnnotationFolder(self.root / self.data_name)

    @property
    def data_seed(self) -> AnnotationFolder:
        """Annotations not yet validated, and pending edits."""
        return AnnotationFolder(self.root / self.data_seed_name)

    @property
    def data_deleted(self) -> AnnotationFolder:
        """Deleted annotations."""
        return AnnotationFolder(self.root / self.data_deleted_name)

    @property
    def data_processed(self) -> AnnotationFolder:
        """Augmented images."""
        return AnnotationFolder(self.root / DATA_PROCESSED)

    @property
    def data_corrupted(self) -> AnnotationFolder:
        """Pairs with bad labels."""
        return AnnotationFolder(self.root / DATA_CORRUPTED)

    @property
    def datasets(self) -> Path:
        """The folder of dated datasets."""
        return self.root / DATASETS

    def dataset(self, name: str) -> DatasetFolder:
        """One dated dataset."""
        return DatasetFolder(self.datasets / _part(name))

    def dataset_in_making(self, run: str) -> DatasetFolder:
        """Where a run's dataset is put together; readers skip it for its dot."""
        return DatasetFolder(self.datasets / _part(f".forming-{run}"))

    @property
    def models(self) -> ModelsFolder:
        """The folder of models."""
        return ModelsFolder(self.root / MODELS)

    @property
    def queue(self) -> QueueFolder:
        """The folder of the annotation queue."""
        return QueueFolder(self.root / QUEUE)

    @property
    def offset(self) -> Path:
        """The last stream offset whose files are durable."""
        return self.root / OFFSET

    @property
    def classes(self) -> Path:
        """The detection classes."""
        return self.root / CLASSES

    @property
    def last_training(self) -> Path:
        """Time of the last finished training, for people; no program reads it."""
        return self.root / LAST_TRAINING

    @property
    def health(self) -> Path:
        """Last check and critical alerts."""
        return self.root / STATUS / "health.json"

    @property
    def logs(self) -> Path:
        """30 days of logs."""
        return self.root / LOGS
