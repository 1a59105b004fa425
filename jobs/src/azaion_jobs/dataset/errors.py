"""The errors of this package.

- DatasetError: the data cannot be used; trying again cannot help.
  - ClassesError: classes.json is missing or wrong.
  - DatasetChangedError: a dataset is no longer what its manifest says.
- DatasetNameError: the request names a dataset that cannot be.
- TreeMissingError: the tree is not there, most likely because its disk is not mounted.
- FormingElsewhereError: another process is forming a dataset for the same run.
- WorkerLostError: a process of the augmentation was killed.

Trouble with the disk itself stays an OSError.
"""


class DatasetError(Exception):
    """The data cannot be used; the message is one sentence for people."""


class ClassesError(DatasetError):
    """classes.json is missing or wrong."""


class DatasetChangedError(DatasetError):
    """A dataset is no longer what its manifest says."""


class DatasetNameError(ValueError):
    """The request names a dataset that cannot be."""


class TreeMissingError(Exception):
    """The tree has no marker."""


class FormingElsewhereError(Exception):
    """Another process is forming a dataset for the same run."""


class WorkerLostError(Exception):
    """A process of the augmentation was killed."""
