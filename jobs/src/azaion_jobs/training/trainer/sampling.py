"""Which samples come when, and how they are augmented: by (seed, epoch, sample) alone.

Neither the number of loader workers nor what was trained before in this process has a say, so a resume, in
the middle of an epoch too, sees exactly the batches that would have come.
"""

import math
import random
import zlib
from collections.abc import Iterator
from copy import copy
from typing import Any, Final

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

# Far more than epochs are ever trained, so that no two seeds share an order.
_SEED_STRIDE: Final = 100_003

Key = tuple[int, int, int]


def reseed(*key: object) -> int:
    """Let every generator that augmentation draws from depend on `key`; returns the seed."""
    seed = zlib.crc32(repr(key).encode())
    random.seed(seed)
    # What is seeded is the generator that ultralytics draws from.
    np.random.seed(seed)  # noqa: NPY002
    # Of the processor alone: a loader worker must not touch CUDA. Here albumentations takes its seed.
    torch.default_generator.manual_seed(seed)
    return seed


class KeyedSamples(Dataset[Any]):
    """A dataset whose samples are asked for by (seed, epoch, index)."""

    def __init__(self, dataset: Any, *, seeded: bool) -> None:  # noqa: ANN401 - ultralytics has no types
        self._dataset = dataset
        self._seeded = seeded

    def __getitem__(self, key: Key) -> Any:  # noqa: ANN401
        """The sample; augmented as its key says."""
        if self._seeded:
            reseed(*key)
        return self._dataset[key[2]]


class EpochLoader:
    """The part of a data loader that ultralytics' training loop uses, an epoch at a time.

    `begin` says which epoch comes next and how many of its samples are done. Workers live for one epoch: they
    are forked with the transforms of their time, closed mosaic included.
    """

    drop_last = False

    def __init__(  # one keyword for each thing that decides about a batch
        self,
        dataset: Any,  # noqa: ANN401
        *,
        batch_size: int,
        workers: int,
        seed: int,
        seeded: bool,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_workers = workers
        self.sampler = range(len(dataset))
        self._seed = seed
        self._seeded = seeded
        self._epoch = 0
        self._done = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return math.ceil(len(self.sampler) / self.batch_size)

    def begin(self, epoch: int, done: int = 0) -> int:
        """The epoch that comes next; returns the number (from 0) of the first batch that will come of it."""
        self._epoch, self._done = epoch, done
        remaining = math.ceil((len(self.sampler) - done) / self.batch_size)
        return len(self) - remaining

    def done_after(self, batches: int) -> int:
        """Samples of the epoch that are done after that many batches of what was begun."""
        return min(len(self.sampler), self._done + batches * self.batch_size)

    def reset(self) -> None:
        """Nothing outlives an epoch here."""

    def __iter__(self) -> Iterator[Any]:
        """The batches of the epoch that are not done yet."""
        generator = torch.Generator().manual_seed(self._seed * _SEED_STRIDE + self._epoch)
        order = torch.randperm(len(self.sampler), generator=generator).tolist()
        keys = [(self._seed, self._epoch, index) for index in order]
        batches = [keys[at : at + self.batch_size] for at in range(self._done, len(keys), self.batch_size)]
        if batches:
            yield from DataLoader(
                KeyedSamples(self.dataset, seeded=self._seeded),
                batch_sampler=batches,
                generator=generator,
                num_workers=self.num_workers,
                pin_memory=torch.cuda.is_available(),
                collate_fn=self.dataset.collate_fn,
            )


def draw_partners_from_all(dataset: Any, hyperparameters: Any) -> None:  # noqa: ANN401
    """Let mosaic choose its partners from the whole set instead of from images lately read.

    Which images were lately read depends on the worker and on the history. The price is up to three more
    images read and decoded for each sample.
    """
    cache, dataset.cache = dataset.cache, "ram"
    dataset.transforms = dataset.build_transforms(hyp=copy(hyperparameters))
    dataset.cache = cache
