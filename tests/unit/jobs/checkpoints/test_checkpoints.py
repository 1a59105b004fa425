import errno
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azaion_jobs.training.checkpoints import (
    CheckpointStore,
    CheckpointWriteError,
    Entry,
    FencedOffError,
    Manifest,
    ManifestError,
    Seal,
    Stage,
    Status,
)

WRITER = Path(__file__).with_name("killed_writer.py")
STEPS = (
    *(f"state: {step}" for step in ("opened", "half written", "written", "synced", "renamed")),
    *(
        f"{what}: {step}"
        # The list is written twice: with the new entry, and without the one that is removed.
        for what in ("description", "list", "list")
        for step in ("opened", "half written", "written", "synced", "renamed", "folder synced")
    ),
    "pruned",
)


def a_store(directory: Path, *, fence: int = 1, keep: int = 3) -> CheckpointStore:
    return CheckpointStore(directory, fence=fence, attempt=fence, keep=keep)


def writing(content: bytes) -> Callable[[BinaryIO], None]:
    def write(stream: BinaryIO) -> None:
        stream.write(content)

    return write


def with_epochs(directory: Path, count: int, *, fence: int = 1, keep: int = 3) -> CheckpointStore:
    store = a_store(directory, fence=fence, keep=keep)
    for epoch in range(1, count + 1):
        store.save(writing(f"state of epoch {epoch}".encode()), epoch=epoch, batch=0, stage=Stage.EPOCH)
    return store


def epoch_of(entry: Entry | None) -> int | None:
    return entry.epoch if entry else None


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    match how:
        case "truncated":
            path.write_bytes(content[:-3])
        case "empty":
            path.write_bytes(b"")
        case "bit-flipped":
            content[5] ^= 0x10
            path.write_bytes(content)
        case "another state":
            path.write_bytes(b"x" * len(content))
        case "missing":
            path.unlink()


def test_a_state_reads_back_with_what_is_known_of_it(tmp_path: Path) -> None:
    store = a_store(tmp_path, fence=4)
    entry = store.save(writing(b"weights"), epoch=2, batch=7, stage=Stage.TRAIN)
    assert entry.file == "state-f4-e2-b7-train.pt"
    assert (entry.fence, entry.attempt, entry.size) == (4, 4, 7)
    assert store.path(entry).read_bytes() == b"weights"
    assert a_store(tmp_path, fence=4).newest_good() == entry
    assert store.status is Status.TRAINING


def test_large_pieces_are_hashed_as_they_are_written(tmp_path: Path) -> None:
    pieces = [b"small", bytes(range(256)) * 8192, b"small again", b"x" * (1 << 20)]

    def write(stream: BinaryIO) -> None:
        stream.writelines(memoryview(piece) for piece in pieces)

    entry = a_store(tmp_path).save(write, epoch=1, batch=0, stage=Stage.EPOCH)
    content = b"".join(pieces)
    assert a_store(tmp_path).path(entry).read_bytes() == content
    assert (entry.size, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_nothing_yet(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    assert store.entries() == ()
    assert store.newest_good() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", range(1, len(STEPS) + 1), ids=lambda step: f"{step} {STEPS[step - 1]}")
def test_killed_at_any_step_of_writing(tmp_path: Path, step: int) -> None:
    with_epochs(tmp_path, 2, keep=2)
    killed = subprocess.run(
        [sys.executable, WRITER, tmp_path, str(step)], capture_output=True, text=True, check=False, timeout=30
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout.splitlines() == list(STEPS[:step])

    store = a_store(tmp_path, fence=2, keep=2)
    found = store.newest_good()
    # What counts is what is listed.
    assert epoch_of(found) == (3 if step > STEPS.index("list: renamed") else 2)
    assert store.manifest().set_aside == ()
    again = store.save(writing(b"third again"), epoch=3, batch=0, stage=Stage.EPOCH)
    assert a_store(tmp_path, fence=2).newest_good() == again
    assert list((tmp_path / "weights").glob(".*")) == []


@pytest.mark.parametrize("how", ["truncated", "empty", "bit-flipped", "another state", "missing"])
def test_a_spoilt_state_is_set_aside_and_the_one_before_used(tmp_path: Path, how: str) -> None:
    store = with_epochs(tmp_path, 3)
    newest = store.entries()[-1]
    damage(store.path(newest), how)
    assert epoch_of(store.newest_good()) == 2
    assert [note.file for note in store.manifest().set_aside] == [newest.file]
    assert not store.path(newest).exists()
    kept = (tmp_path / "weights" / f"{newest.file}.corrupt").exists()
    assert kept == (how != "missing")
    assert epoch_of(a_store(tmp_path, fence=2).newest_good()) == 2


def test_all_spoilt(tmp_path: Path) -> None:
    store = with_epochs(tmp_path, 3)
    for entry in store.entries():
        damage(store.path(entry), "bit-flipped")
    assert store.newest_good() is None
    assert len(store.manifest().set_aside) == 3
    assert len(list((tmp_path / "weights").glob("*.corrupt"))) == 3


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 2}', b'{"version": 1, "fence": 1}', b"\xff\x00"]
)
def test_an_unreadable_list_is_made_anew(tmp_path: Path, content: bytes) -> None:
    entries = with_epochs(tmp_path, 3).entries()
    (tmp_path / "checkpoints.json").write_bytes(content)
    store = a_store(tmp_path, fence=2)
    assert store.entries() == entries
    assert store.newest_good() == entries[-1]
    store.save(writing(b"more"), epoch=4, batch=0, stage=Stage.EPOCH)
    assert Manifest.from_json((tmp_path / "checkpoints.json").read_bytes()).fence == 2


def test_a_lost_list_is_made_anew(tmp_path: Path) -> None:
    entries = with_epochs(tmp_path, 2).entries()
    (tmp_path / "checkpoints.json").unlink()
    assert a_store(tmp_path).entries() == entries


def test_remade_lists_are_in_order_of_training(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    order = [(0, 9, Stage.TRAIN), (0, 10, Stage.VALIDATE), (1, 0, Stage.EPOCH), (1, 2, Stage.TRAIN)]
    # Nothing is removed: each kind stays within its bounds.
    for epoch, batch, stage in (order[0], order[1], order[2]):
        store.save(writing(b"s"), epoch=epoch, batch=batch, stage=stage)
    listed = store.entries()
    (tmp_path / "checkpoints.json").unlink()
    assert a_store(tmp_path).entries() == listed
    newest = store.save(writing(b"s"), epoch=1, batch=2, stage=Stage.TRAIN)
    (tmp_path / "checkpoints.json").unlink()
    assert a_store(tmp_path).newest_good() == newest


def test_two_fences(tmp_path: Path) -> None:
    old = with_epochs(tmp_path, 2)
    new = a_store(tmp_path, fence=2)
    newer = new.save(writing(b"of the new"), epoch=3, batch=0, stage=Stage.EPOCH)
    with pytest.raises(FencedOffError, match=r"fence 2, ours is 1"):
        old.save(writing(b"of the old"), epoch=3, batch=0, stage=Stage.EPOCH)
    with pytest.raises(FencedOffError):
        old.finish(Status.FINISHED)
    assert new.newest_good() == newer
    assert [entry.fence for entry in new.entries()] == [1, 1, 2]


def test_an_old_attempt_that_overwrites_the_list_changes_nothing(tmp_path: Path) -> None:
    """It can happen where locks do not work: it looked before the new attempt wrote, and wrote after it."""
    with_epochs(tmp_path, 2)
    stale = (tmp_path / "checkpoints.json").read_bytes()
    new = a_store(tmp_path, fence=2)
    newer = new.save(writing(b"of the new"), epoch=3, batch=0, stage=Stage.EPOCH)
    (tmp_path / "checkpoints.json").write_bytes(stale)
    assert new.newest_good() == newer
    with pytest.raises(FencedOffError):
        a_store(tmp_path).save(writing(b"old"), epoch=3, batch=0, stage=Stage.EPOCH)


def test_a_newer_lease_fences_off_before_anything_is_written(tmp_path: Path) -> None:
    store = with_epochs(tmp_path, 1)
    (tmp_path / "lease.json").write_text(json.dumps({"fence": 2, "attempt": 2}))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FencedOffError):
        store.save(writing(b"late"), epoch=2, batch=0, stage=Stage.EPOCH)
    assert sorted(tmp_path.rglob("*")) == before


def refusing(times: int, code: int) -> Callable[[BinaryIO], None]:
    left = times

    def write(stream: BinaryIO) -> None:
        nonlocal left
        stream.write(b"half of it")
        if left:
            left -= 1
            raise OSError(code, "injected")
        stream.write(b" and the rest")

    return write


def test_a_full_disk_costs_older_checkpoints_first(tmp_path: Path) -> None:
    store = with_epochs(tmp_path, 4, keep=4)
    entry = store.save(refusing(1, errno.ENOSPC), epoch=5, batch=0, stage=Stage.EPOCH)
    assert store.path(entry).read_bytes() == b"half of it and the rest"
    assert [one.epoch for one in store.entries()] == [3, 4, 5]


def test_a_full_disk_never_costs_the_last_two_good_ones(tmp_path: Path) -> None:
    store = with_epochs(tmp_path, 4, keep=4)
    damage(store.path(store.entries()[2]), "bit-flipped")
    with pytest.raises(CheckpointWriteError, match="injected"):
        store.save(refusing(2, errno.ENOSPC), epoch=5, batch=0, stage=Stage.EPOCH)
    assert [one.epoch for one in store.entries()] == [2, 4]
    assert epoch_of(store.newest_good()) == 4
    assert list((tmp_path / "weights").glob(".*")) == []


def test_another_storage_fault_removes_nothing(tmp_path: Path) -> None:
    store = with_epochs(tmp_path, 4, keep=4)
    with pytest.raises(CheckpointWriteError):
        store.save(refusing(1, errno.EIO), epoch=5, batch=0, stage=Stage.EPOCH)
    assert len(store.entries()) == 4


def test_pruning(tmp_path: Path) -> None:
    store = a_store(tmp_path, keep=2)
    for epoch in range(5):
        for batch in (2, 4):
            store.save(writing(b"inside"), epoch=epoch, batch=batch, stage=Stage.TRAIN)
        store.save(writing(b"all"), epoch=epoch, batch=6, stage=Stage.VALIDATE)
        store.save(writing(b"epoch"), epoch=epoch + 1, batch=0, stage=Stage.EPOCH)
    kept = [(entry.epoch, entry.batch, str(entry.stage)) for entry in store.entries()]
    assert kept == [(4, 0, "epoch"), (4, 4, "train"), (4, 6, "validate"), (5, 0, "epoch")]
    states = {path.name for path in (tmp_path / "weights").glob("*.pt")}
    assert states == {entry.file for entry in store.entries()}


def test_pruning_leaves_weights_and_final_states_alone(tmp_path: Path) -> None:
    store = with_epochs(tmp_path, 3)
    others = [tmp_path / "weights" / name for name in ("best.pt", "last.pt", "final.pt", "epoch0.pt")]
    for path in others:
        path.write_bytes(b"weights")
    store.save(writing(b"over"), epoch=3, batch=0, stage=Stage.FINAL)
    store.prune(0)
    assert [entry.stage for entry in store.entries()] == [Stage.EPOCH, Stage.FINAL]
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("keep", [0, 1])
def test_two_stay_however_few_are_asked_for(tmp_path: Path, keep: int) -> None:
    assert [entry.epoch for entry in with_epochs(tmp_path, 4, keep=keep).entries()] == [3, 4]


def test_a_state_saved_again_takes_the_place_of_the_former(tmp_path: Path) -> None:
    """After a NaN the run goes back and comes by the same place once more."""
    store = with_epochs(tmp_path, 3)
    again = store.save(writing(b"with a lower rate"), epoch=2, batch=0, stage=Stage.EPOCH)
    assert [entry.epoch for entry in store.entries()] == [1, 3, 2]
    assert store.newest_good() == again


def test_finishing_and_sealing(tmp_path: Path) -> None:
    store = with_epochs(tmp_path, 2)
    with pytest.raises(ValueError, match="Only a finished run"):
        store.seal({"best.pt": Seal(size=1, sha256="0" * 64)})
    store.finish(Status.STOPPED_EARLY)
    assert a_store(tmp_path).status is Status.STOPPED_EARLY
    assert store.sealed == {}
    store.seal({"best.pt": Seal(size=1, sha256="0" * 64)})
    assert a_store(tmp_path).sealed == {"best.pt": Seal(size=1, sha256="0" * 64)}


def test_hard_links_to_states_outlive_pruning(tmp_path: Path) -> None:
    store = with_epochs(tmp_path, 1)
    final = tmp_path / "weights" / "final.pt"
    final.hardlink_to(store.path(store.entries()[0]))
    with_epochs(tmp_path, 5, keep=2)
    assert final.read_bytes() == b"state of epoch 1"


ENTRIES = st.builds(
    Entry,
    epoch=st.integers(0, 999),
    batch=st.integers(0, 10**6),
    stage=st.sampled_from(Stage),
    fence=st.integers(0, 99),
    attempt=st.integers(0, 99),
    size=st.integers(0, 10**12),
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    time=st.just("2026-03-28T14:30:00.123Z"),
    file=st.from_regex(r"state-[a-z0-9-]{1,20}\.pt", fullmatch=True),
)


@given(
    st.builds(
        Manifest,
        fence=st.integers(0, 99),
        status=st.sampled_from(Status),
        entries=st.lists(ENTRIES, max_size=4).map(tuple),
        sealed=st.dictionaries(st.sampled_from(["best.pt", "last.pt"]), st.builds(Seal)),
    )
)
def test_a_list_reads_back_as_it_was_written(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_other_text_is_refused_and_nothing_else_happens(text: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epoch", -1),
        ("size", "9"),
        ("stage", "later"),
        ("sha256", "12"),
        ("file", "../x.pt"),
        ("fence", True),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, field: str, value: object) -> None:
    with_epochs(tmp_path, 1)
    description = next((tmp_path / "weights").glob("*.json"))
    data = json.loads(description.read_text()) | {field: value}
    with pytest.raises(ManifestError, match=field):
        Entry.from_dict(data)
    # A description that says nonsense is passed over.
    description.write_text(json.dumps(data))
    (tmp_path / "checkpoints.json").unlink()
    assert a_store(tmp_path).entries() == ()


def test_a_copied_run_directory_works_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with_epochs(tmp_path / "one", 2)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.rmtree(tmp_path / "one")
    assert epoch_of(a_store(tmp_path / "two").newest_good()) == 2
