import pytest

from azaion_jobs.contract import Limits
from azaion_jobs.contract.messages import (
    Checkpoint,
    CheckpointFailed,
    Epoch,
    Scanning,
    Started,
    Step,
    Validating,
)
from azaion_jobs.training.watch import Doing, Watch


def a_watch(train_images: int = 1000) -> Watch:
    return Watch(Limits(), train_images=train_images, valid_images=100)


def started(*, cuda: bool = True) -> Started:
    return Started(
        time=0, batch_size=11, batches=10, epochs=2, epoch=0, batch=0, device="0", cuda=cuda, parameters=1
    )


def step(batch: int, epoch: int = 1, seconds: float = 1.0) -> Step:
    return Step(time=0, epoch=epoch, batch=batch, batches=10, loss=1, step_seconds=seconds, wait_seconds=0)


def epoch(number: int) -> Epoch:
    return Epoch(time=0, epoch=number, epochs=2, loss=1, map50=0, map50_95=0, seconds=9, lr=0.1)


class Time:
    """Looks at a watch every second, as the supervisor does, so that no gap is taken for a frozen pod."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.now = 1000.0
        watch.start(self.now)

    def until_stalled(self, at_most: float) -> float:
        begun = self.now
        while self.now - begun < at_most:
            self.now += 1
            if self.watch.stalled(self.now):
                return self.now - begun
        return at_most


def test_the_start_has_a_window_that_grows_with_the_images() -> None:
    assert Time(a_watch(train_images=10_000)).until_stalled(9999) == pytest.approx(501, abs=1)


def test_reading_labels_is_progress_only_while_it_advances() -> None:
    watch = a_watch(train_images=0)
    time = Time(watch)
    for done in range(5):
        assert time.until_stalled(250) == 250
        watch.hear(Scanning(time=0, done=done, total=9), time.now)
    for _ in range(2):
        time.until_stalled(100)
        watch.hear(Scanning(time=0, done=4, total=9), time.now)
    assert time.until_stalled(9999) == pytest.approx(101, abs=1)


@pytest.mark.parametrize(("seconds", "window"), [(1.0, 300), (60.0, 300), (100.0, 500)])
def test_a_step_may_take_five_times_what_slow_steps_take(seconds: float, window: float) -> None:
    watch = a_watch()
    time = Time(watch)
    watch.hear(started(), time.now)
    for batch in range(1, 9):
        time.now += 1
        watch.hear(step(batch, seconds=seconds), time.now)
    assert watch.doing is Doing.TRAIN
    assert watch.window() == window


def test_one_slow_step_of_many_does_not_widen_the_window() -> None:
    watch = a_watch()
    for number in range(1, 500):
        watch.hear(step(1 + number % 9, epoch=number, seconds=1000.0 if number == 7 else 1.0), 0)
    assert watch.window() == 300


def test_the_same_step_told_again_is_no_progress() -> None:
    watch = a_watch()
    time = Time(watch)
    watch.hear(step(1), time.now)
    time.until_stalled(200)
    watch.hear(step(1), time.now)
    watch.hear(CheckpointFailed(time=0, reason="full"), time.now)
    assert time.until_stalled(9999) == pytest.approx(101, abs=1)


@pytest.mark.parametrize(("cuda", "window"), [(True, 320), (False, 800)])
def test_the_first_validation_has_a_window_by_its_images(cuda: bool, window: float) -> None:
    watch = a_watch()
    watch.hear(started(cuda=cuda), 0)
    watch.hear(step(10), 0)
    assert watch.doing is Doing.VALIDATE
    assert watch.window() == window


def test_later_validations_may_take_five_times_the_longest() -> None:
    watch = a_watch()
    time = Time(watch)
    watch.hear(started(), time.now)
    watch.hear(step(10), time.now)
    time.now += 200
    watch.hear(Validating(time=0, epoch=1, batch=3, batches=9), time.now)
    watch.hear(epoch(1), time.now)
    assert watch.window() == 300
    watch.hear(step(10, epoch=2), time.now)
    assert watch.window() == 1000
    # The next trainer of this pod knows it too.
    later = Watch(Limits(), train_images=1, valid_images=1, earlier=watch)
    later.hear(step(10), 0)
    assert later.window() == 1000


def test_what_follows_the_last_epoch_has_the_window_of_an_export() -> None:
    watch = a_watch()
    watch.hear(epoch(2), 0)
    assert (watch.doing, watch.window()) == (Doing.FINISH, 900)
    watch.hear(Validating(time=0, epoch=2, batch=1, batches=9), 0)
    assert watch.doing is Doing.FINISH


def test_an_early_end_shows_by_its_final_checkpoint() -> None:
    watch = a_watch()
    watch.hear(epoch(1), 0)
    watch.hear(Checkpoint(time=0, epoch=1, batch=0, stage="final", file="x.pt", size=1, seconds=1), 0)
    assert watch.doing is Doing.FINISH


def test_a_rehearsal_has_one_wide_window() -> None:
    watch = a_watch()
    watch.start(0, rehearsing=True)
    watch.hear(started(), 0)
    watch.hear(step(3), 0)
    assert (watch.doing, watch.window()) == (Doing.REHEARSE, 900)


def test_a_pod_that_was_frozen_as_a_whole_did_not_stall() -> None:
    watch = a_watch()
    time = Time(watch)
    watch.hear(step(1), time.now)
    time.until_stalled(100)
    time.now += 50_000
    assert watch.stalled(time.now) == ""
    assert time.until_stalled(9999) == pytest.approx(201, abs=2)


def test_a_stall_is_told_in_words() -> None:
    watch = a_watch()
    time = Time(watch)
    watch.hear(step(1), time.now)
    time.until_stalled(301)
    assert watch.stalled(time.now) == "the next step has not come on for 301 s, where 300 s are allowed"
