"""Fresh, resume, finished or refuse: what an attempt does with the run directory it finds.

A pure table over facts that are read from files alone; standard library only. Nothing here looks for 'the
latest file somewhere': only what checkpoints.json of this very directory lists can be resumed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from azaion_jobs.contract import ExitCode
from azaion_jobs.training.checkpoints import CheckpointStore, Entry, Status
from azaion_jobs.tree import RunFolder


@dataclass(frozen=True, slots=True)
class Fresh:
    """Train from the base weights; `reason` says so to people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on from this state; where training itself is over, do what follows it."""

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """All is done; the directory is not touched again."""

    status: Status


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do nothing and leave with `exit_code`."""

    reason: str
    exit_code: ExitCode


Decision = Fresh | Resume | Finished | Refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the run directory says."""

    uid: str
    """Of the run that asks."""
    owner: str
    """Of the run in whose name the directory was made; empty if nobody's."""
    fence: int
    """Under which this attempt holds the directory."""
    newest_fence: int
    """The highest that was ever given or has written."""
    status: Status
    sealed: bool
    """Whether the weights of the finished run are in place."""
    newest: Entry | None
    """The newest state that was found good."""
    spoilt: int
    """States that had to be set aside, now or earlier."""
    own_models: int = 0
    """Weights in the directory that no list speaks of: those of an earlier deployment."""

    @classmethod
    def read(cls, store: CheckpointStore, directory: Path, *, uid: str, owner: str, fence: int) -> Self:
        """Look at the directory; bad states are set aside on the way."""
        before = store.manifest()
        newest_fence = max(fence, before.fence)
        # A directory of another attempt or run is only looked at.
        mine = newest_fence <= fence and owner == uid
        newest = store.newest_good() if mine else next(iter(before.entries[-1:]), None)
        after = store.manifest() if mine else before
        folder = RunFolder(directory)
        listed = bool(after.entries or after.set_aside)
        weights = () if listed else directory.glob("**/*.pt")
        return cls(
            uid=uid,
            owner=owner,
            fence=fence,
            newest_fence=newest_fence,
            status=after.status,
            sealed=bool(after.sealed),
            newest=newest,
            spoilt=len(after.set_aside),
            own_models=sum(1 for path in weights if path.name in (folder.best.name, folder.last.name)),
        )


def decide(facts: Facts) -> Decision:
    """The table, first match from the top."""
    if facts.newest_fence > facts.fence:
        return Refuse(
            f"A newer attempt holds the run directory (fence {facts.newest_fence}, ours is {facts.fence}).",
            ExitCode.FENCED_OFF,
        )
    if facts.owner != facts.uid:
        whose = f"to the run with UID {facts.owner}" if facts.owner else "to no run"
        return Refuse(
            f"The run directory belongs {whose}, not to {facts.uid}; name another model directory.",
            ExitCode.BAD_SPEC,
        )
    if facts.status is not Status.TRAINING and facts.sealed:
        return Finished(facts.status)
    return _go_on(facts)


def _go_on(facts: Facts) -> Decision:
    over = facts.status is not Status.TRAINING
    if facts.newest is not None:
        return Resume(facts.newest, "only what follows training remains" if over else "the newest good state")
    if over:
        # To train it again would overwrite what took days; best.pt is still there for a person to judge.
        return Refuse(
            "Training is over, but no state of it is left to finish from; "
            "look at the weights in the run directory.",
            ExitCode.BAD_DATA,
        )
    if facts.own_models:
        return Refuse(
            "The run directory holds weights of an earlier training and no list of checkpoints; "
            "name another model directory and start from that one.",
            ExitCode.BAD_SPEC,
        )
    if facts.spoilt:
        return Fresh(f"none of {facts.spoilt} earlier states can be used; they were set aside")
    return Fresh("there is no earlier state")
