"""pid 1 of a train pod: starts the trainer, and starts it again until every epoch is done.

Read `Supervisor.run` from top to bottom; the parts have modules of their own. Standard library and
prometheus-client only: what watches a process must not fail for the process's reasons.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from azaion_jobs.contract import ExitCode, Outcome, RunSpec, RunSpecError, Verdict
from azaion_jobs.contract.messages import Checkpoint, Failed, Message, Started
from azaion_jobs.training import last_word, metrics, preflight, processes
from azaion_jobs.training.checkpoints import CheckpointError, CheckpointStore, FencedOffError, Status
from azaion_jobs.training.child import Child
from azaion_jobs.training.decision import Decision, Facts, Finished, Fresh, Refuse, Resume, decide
from azaion_jobs.training.durable import write_durably
from azaion_jobs.training.lease import (
    ForeignDirectoryError,
    Lease,
    NewerAttemptError,
    StillHeldError,
    WaitInterruptedError,
    claim,
    owner,
    take,
)
from azaion_jobs.training.machine import CGROUP_ROOT, Gpus, NvidiaSmi, Space, oom_kills, space
from azaion_jobs.training.progress import Tracker
from azaion_jobs.training.response import Cause, End, Leave, diagnose, respond
from azaion_jobs.training.server import Page, Pulse, Server
from azaion_jobs.training.state import State
from azaion_jobs.training.stop import Stop
from azaion_jobs.training.watch import Doing, Watch
from azaion_jobs.tree import MODELS, ModelsFolder

PORT: Final = 9400

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - this very place is meant
_GPU_NOISE: Final = 512 << 20
"""Bytes by which a GPU may hold more than before and still count as given back."""

_log = logging.getLogger("azaion_jobs.supervisor")


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a supervisor finds around it; tests put other things there."""

    trainer: Sequence[str] = (sys.executable, "-m", "azaion_jobs.training.trainer")
    port: int = PORT
    termination_message: Path = last_word.TERMINATION_MESSAGE
    shared_memory: Path = _SHARED_MEMORY
    owns_shared_memory: bool = field(default_factory=lambda: os.getpid() == 1)
    """Whether nobody else uses it, so that it may be emptied: in a pod, but not on a workstation."""
    cgroups: Path = CGROUP_ROOT
    gpus: Gpus = field(default_factory=NvidiaSmi)
    rehearses: bool = False
    """Whether the trainer knows `--rehearse`."""
    space: Callable[[Path], Space | None] = space
    dataset_problems: preflight.DatasetProblems = preflight.dataset_problems
    base_model_problem: Callable[[RunSpec], str] = preflight.base_model_problem
    tick: float = 0.5
    """How often the supervisor looks round when nothing happens."""


@dataclass(frozen=True, slots=True)
class Held:
    """What an attempt works with once the run directory is its own."""

    lease: Lease
    store: CheckpointStore
    tracker: Tracker
    facts: preflight.Facts


class Left(Exception):  # noqa: N818 - an end, not always an error
    """The attempt is over."""

    def __init__(self, exit_code: ExitCode, reason: str, message: str, *, clean: bool | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.reason = reason
        self.clean = clean


def supervise(run_file: Path, surroundings: Surroundings | None = None) -> ExitCode:
    """Do what run.json says and return the exit code of the attempt. To be called from the main thread."""
    surroundings = surroundings or Surroundings()
    stop = Stop()
    stop.install()
    processes.adopt_orphans()
    try:
        spec = RunSpec.from_json(run_file.read_bytes())
    except OSError as error:
        problem = f"{run_file} cannot be read: {error.strerror}."
    except RunSpecError as error:
        problem = str(error)
    else:
        return Supervisor(spec, surroundings, stop).run().outcome.exit_code
    _log.error("%s", problem)
    verdict = Verdict(outcome=Outcome.BAD_SPEC, reason="BadSpec", message=problem)
    last_word.leave(verdict, termination_message=surroundings.termination_message, folder=None)
    return ExitCode.BAD_SPEC


class Supervisor:
    """One attempt at one run."""

    def __init__(self, spec: RunSpec, surroundings: Surroundings, stop: Stop) -> None:
        self._spec = spec
        self._limits = spec.limits
        self._around = surroundings
        self._stop = stop
        self._models = ModelsFolder(Path(spec.root) / MODELS)
        self._folder = self._models.run(spec.model_directory)
        self._pulse = Pulse()
        self._state = State.new(spec)
        self._lease: Lease | None = None
        self._tracker: Tracker | None = None
        self._watch: Watch | None = None
        self._failed: Failed | None = None
        self._cuda: bool | None = None
        self._progress = Tracker(spec, self._folder, fence=0).snapshot()

    def run(self) -> Verdict:
        """The whole story of an attempt; always ends with a verdict that has been written."""
        server = self._serve()
        try:
            facts = self._preflight()
            lease = self._lease = self._take_directory()
            tracker = self._tracker = Tracker(self._spec, self._folder, fence=lease.fence)
            self._state = self._load_state(facts)
            self._train(Held(lease, self._store(lease), tracker, facts))
            left = Left(ExitCode.DONE, Cause.DONE, "The training is finished.")
        except Left as early:
            left = early
        except Exception as error:  # noqa: BLE001 - whatever it is, the operator wants a verdict
            _log.exception("The supervisor failed")
            left = Left(ExitCode.INTERNAL_ERROR, "SupervisorFailed", f"{type(error).__name__}: {error}")
            self._failed = Failed(
                time=0, kind="internal", message=str(left), traceback=traceback.format_exc()
            )
        finally:
            if server is not None:
                server.close()
        return self._leave(left)

    # What comes before the first trainer

    def _serve(self) -> Server | None:
        pages = {
            "/progress": Page("application/json", lambda: self._progress.to_json().encode()),
            "/metrics": Page(metrics.CONTENT_TYPE, metrics.page(lambda: self._progress)),
            "/healthz": Page("text/plain", self._pulse.page),
        }
        server = Server.start(self._around.port, pages)
        if server is not None:
            _log.info("Progress is served on port %d", server.port, extra={"context": {"port": server.port}})
        return server

    def _preflight(self) -> preflight.Facts:
        facts = preflight.look(
            self._spec,
            shared_memory=self._around.shared_memory,
            cgroups=self._around.cgroups,
            gpus=self._around.gpus,
            space=self._around.space,
            dataset_problems=self._around.dataset_problems,
        )
        problem = preflight.check(self._spec, facts)
        if problem is not None:
            raise Left(problem.exit_code, problem.reason, problem.message)
        return facts

    def _take_directory(self) -> Lease:
        try:
            claim(self._folder, self._spec)
            lease = take(self._folder, self._spec, wait=self._limits.lease_wait, pause=self._pause)
        except ForeignDirectoryError as error:
            raise Left(ExitCode.BAD_SPEC, "ForeignDirectory", str(error)) from error
        except NewerAttemptError as error:
            raise Left(ExitCode.FENCED_OFF, Cause.FENCED_OFF, str(error)) from error
        except StillHeldError as error:
            raise Left(ExitCode.SERVICE_UNAVAILABLE, "DirectoryHeld", str(error)) from error
        except WaitInterruptedError as error:
            raise Left(ExitCode.STOPPED_ON_REQUEST, "StopRequested", str(error), clean=True) from error
        except OSError as error:
            msg = f"The model directory {self._folder.root} cannot be used: {error.strerror or error}."
            raise Left(ExitCode.STORAGE_FAULT, "DirectoryUnusable", msg) from error
        _log.info("The run directory is held", extra={"context": {"fence": lease.fence}})
        return lease

    def _store(self, lease: Lease) -> CheckpointStore:
        spec = self._spec
        return CheckpointStore(
            self._folder.root, fence=lease.fence, attempt=spec.attempt, keep=spec.checkpoints.keep
        )

    def _load_state(self, facts: preflight.Facts) -> State:
        state = State.load(self._folder, self._spec)
        workers = preflight.workers_that_fit(self._spec, state.workers, facts)
        if workers < state.workers:
            _log.warning(
                "Shared memory and the memory limit do not suffice for %d workers: %d are used. "
                "Give /dev/shm at least %.1f GB.",
                state.workers,
                workers,
                preflight.shared_memory_needed(self._spec, state.workers, facts) / 1e9,
            )
        # Not remembered: the next pod may have more.
        return replace(state, workers=workers)

    # Trainer after trainer

    def _train(self, held: Held) -> None:
        """Returns when all is done; everything else is raised as Left."""
        tracker = held.tracker
        while True:
            self._leave_if_asked()
            decision = self._decide(held)
            if isinstance(decision, Finished):
                tracker.finished()
                return
            rehearsing = isinstance(decision, Fresh) and self._is_to_rehearse()
            if isinstance(decision, Fresh) and (missing := self._around.base_model_problem(self._spec)):
                raise Left(ExitCode.BAD_DATA, "BaseModelMissing", missing)
            tracker.learned(self._state)
            if isinstance(decision, Resume):
                tracker.resumed(decision.entry)
            tracker.doing("rehearsing" if rehearsing else "starting", _sentence(decision))
            end = self._one_trainer(held, decision, rehearsing=rehearsing)
            if rehearsing and diagnose(end) is Cause.DONE:
                _log.info("The rehearsal went well; the training starts anew from the base weights")
                self._remember(replace(self._state, rehearsed=True))
                continue
            response = respond(end, self._state, self._limits)
            if isinstance(response, Leave):
                if response.exit_code is ExitCode.DONE:
                    return
                raise Left(response.exit_code, response.reason, response.message)
            _log.warning("%s", response.reason, extra={"context": {"cause": diagnose(end)}})
            self._remember(response.state)
            tracker.learned(self._state)
            tracker.doing("restarting", response.reason)
            self._failed = None
            self._await_gpu_memory(held.facts)

    def _is_to_rehearse(self) -> bool:
        return self._around.rehearses and self._limits.rehearse and not self._state.rehearsed

    def _decide(self, held: Held) -> Decision:
        try:
            facts = Facts.read(
                held.store,
                self._folder.root,
                uid=self._spec.run.uid,
                owner=owner(self._folder),
                fence=held.lease.fence,
            )
        except FencedOffError as error:
            raise Left(ExitCode.FENCED_OFF, Cause.FENCED_OFF, str(error)) from error
        except (CheckpointError, OSError) as error:
            raise Left(ExitCode.STORAGE_FAULT, Cause.STORAGE, str(error)) from error
        decision = decide(facts)
        if isinstance(decision, Refuse):
            raise Left(decision.exit_code, "Refused", decision.reason)
        _log.info("%s", _sentence(decision))
        return decision

    def _one_trainer(self, held: Held, decision: Decision, *, rehearsing: bool) -> End:
        """Start a trainer and follow it to its end, or to the end that is put to it."""
        tracker = held.tracker
        watch = self._watch = Watch(
            self._limits,
            train_images=held.facts.train_images,
            valid_images=held.facts.valid_images,
            earlier=self._watch,
        )
        kills_before = oom_kills(self._around.cgroups) or 0
        command = self._command(held.lease, decision, rehearsing=rehearsing)
        child = Child.start(command, lock=held.lease.descriptor)
        watch.start(time.monotonic(), rehearsing=rehearsing)
        try:
            returncode, stalled, cuda_lost = self._follow(child, tracker, watch, rehearsing=rehearsing)
        finally:
            gone = self._end(child)
            for message in child.messages():
                self._hear(message, tracker, watch, rehearsing=rehearsing)
            child.close()
        complete = returncode == 0 and (rehearsing or _complete(held.store))
        if self._stop.requested and not complete:
            raise self._stopped(returncode, watch)
        if not gone:
            msg = "A process of the ended trainer cannot be killed: it hangs in the driver or on the disk."
            raise Left(ExitCode.GPU_FAULT, "TrainerUnkillable", msg)
        return End(
            returncode=-9 if returncode is None else returncode,
            failed=self._failed,
            complete=complete,
            stalled=stalled,
            cuda_lost=cuda_lost,
            oom_kills=(oom_kills(self._around.cgroups) or 0) - kills_before,
        )

    def _follow(
        self, child: Child, tracker: Tracker, watch: Watch, *, rehearsing: bool
    ) -> tuple[int | None, str, bool]:
        """Until the trainer ends, stands still, loses its GPU, or the time for stopping is over."""
        asked = False
        while True:
            self._stop.wait_for(child.pipe, self._around.tick)
            # In this order: whatever it said before its end is read after its end.
            returncode = child.poll()
            for message in child.messages():
                self._hear(message, tracker, watch, rehearsing=rehearsing)
            now = time.monotonic()
            self._look(tracker, watch, now)
            if returncode is not None:
                return returncode, "", self._cuda_lost()
            if self._stop.since is not None:
                if not asked:
                    _log.info("Stop requested: the trainer writes a checkpoint and leaves")
                    tracker.doing("stopping", "A stop was requested.")
                    child.request_stop()
                    asked = True
                if now >= self._stop.since + self._limits.grace - self._limits.grace_margin:
                    return None, "", False
            elif self._cuda_lost():
                return None, "", True
            elif stalled := watch.stalled(now):
                tracker.stalled()
                self._look(tracker, watch, now)
                return None, stalled, False

    def _command(self, lease: Lease, decision: Decision, *, rehearsing: bool) -> list[str]:
        state = self._state
        # What the machine forced upon the run; the batch is an argument, because the asked one counts too.
        told = replace(self._spec, training=replace(self._spec.training, workers=state.workers))
        try:
            write_durably(self._folder.told, told.to_json().encode())
        except OSError as error:
            msg = f"{self._folder.told} could not be written: {error.strerror or error}."
            raise Left(ExitCode.STORAGE_FAULT, Cause.STORAGE, msg) from error
        command = [
            *self._around.trainer,
            *("--run", str(self._folder.told)),
            *("--directory", str(self._folder.root)),
            *("--fence", str(lease.fence)),
            *("--batch-size", str(state.batch_size)),
        ]
        if isinstance(decision, Resume):
            command += ["--resume", str(self._folder.weights / decision.entry.file)]
        if state.learning_rate_scale != 1:
            command += ["--learning-rate-scale", str(state.learning_rate_scale)]
        if state.validation_batch is not None:
            command += ["--validation-batch", str(state.validation_batch)]
        if rehearsing:
            command += ["--rehearse"]
        return command

    # What is heard and seen while one runs

    def _hear(self, message: Message, tracker: Tracker, watch: Watch, *, rehearsing: bool) -> None:
        watch.hear(message, time.monotonic())
        tracker.hear(message)
        match message:
            case Started():
                if self._cuda is not False:
                    self._cuda = message.cuda
                if message.parameters != self._state.parameters:
                    self._remember(replace(self._state, parameters=message.parameters))
            case Checkpoint() if not rehearsing:
                self._remember(self._state.with_checkpoint(message.epoch, message.batch))
            case Failed():
                self._failed = message
            case _:
                pass

    def _cuda_lost(self) -> bool:
        """Whether the run is to have a GPU and its trainer has found none."""
        return self._spec.training.gpus > 0 and self._cuda is False

    def _look(self, tracker: Tracker, watch: Watch, now: float) -> None:
        self._pulse.beat()
        self._progress = tracker.snapshot(silent_seconds=now - watch.last_beat)

    def _pause(self, seconds: float) -> bool:
        self._pulse.beat()
        return self._stop.pause(seconds)

    def _remember(self, state: State) -> None:
        if state != self._state:
            self._state = state
            state.save(self._folder)

    # How it ends

    def _end(self, child: Child) -> bool:
        wait = self._limits.kill_wait
        if self._stop.since is not None:
            # The kubelet does not wait longer either, and the verdict is still to be written.
            wait = min(wait, self._limits.grace_margin / 2)
        shared = self._around.shared_memory if self._around.owns_shared_memory else None
        return child.end(wait=wait, shared_memory=shared)

    def _await_gpu_memory(self, facts: preflight.Facts) -> None:
        """A killed trainer's memory is free only some time after its end; a new one must not start before."""
        if not facts.gpu_memory:
            return
        deadline = time.monotonic() + self._limits.memory_wait
        while True:
            used = self._around.gpus.memory_used()
            if used is None:
                return
            if len(used) == len(facts.gpu_memory) and all(
                now <= before + _GPU_NOISE for now, before in zip(used, facts.gpu_memory, strict=True)
            ):
                return
            if time.monotonic() >= deadline:
                msg = "The GPU did not give back the memory of an ended trainer; look at the node's driver."
                raise Left(ExitCode.GPU_FAULT, "GpuMemoryHeld", msg)
            if self._pause(1):
                return

    def _leave_if_asked(self) -> None:
        if self._stop.requested:
            raise Left(
                ExitCode.STOPPED_ON_REQUEST, "StopRequested", "Stopped between two trainers.", clean=True
            )

    def _stopped(self, returncode: int | None, watch: Watch) -> Left:
        if returncode is None:
            msg = "Stopped on request; the trainer did not leave in time and was killed."
            return Left(ExitCode.STOPPED_ON_REQUEST, "StopForced", msg, clean=False)
        # Before its first step a trainer has nothing to lose, and no handler for SIGTERM yet.
        clean = returncode == ExitCode.STOPPED_ON_REQUEST or watch.doing in (Doing.START, Doing.REHEARSE)
        if clean:
            msg = "Stopped on request; nothing is lost."
        else:
            msg = (
                f"Stopped on request; the trainer left with {returncode} without a checkpoint of this moment."
            )
        return Left(ExitCode.STOPPED_ON_REQUEST, "StopRequested", msg, clean=clean)

    def _leave(self, left: Left) -> Verdict:
        tracker = self._tracker
        verdict = Verdict(
            outcome=Outcome[left.exit_code.name],
            reason=left.reason,
            message=str(left),
            epoch=tracker.epoch if tracker else None,
            metrics=tracker.metrics() if tracker else {},
            traceback=self._failed.traceback if self._failed and left.exit_code is not ExitCode.DONE else "",
            clean=left.clean,
        )
        verdict = last_word.leave(
            verdict,
            termination_message=self._around.termination_message,
            # Before it is held, or once it is another attempt's, the directory is not ours to write to.
            folder=self._folder if self._lease and left.exit_code is not ExitCode.FENCED_OFF else None,
        )
        level = (
            logging.INFO if left.exit_code in (ExitCode.DONE, ExitCode.STOPPED_ON_REQUEST) else logging.ERROR
        )
        _log.log(level, "%s", verdict.message, extra={"context": {"outcome": verdict.outcome}})
        return verdict


def _complete(store: CheckpointStore) -> bool:
    try:
        manifest = store.manifest()
    except OSError:
        return False
    return manifest.status is not Status.TRAINING and bool(manifest.sealed)


def _sentence(decision: Decision) -> str:
    match decision:
        case Fresh():
            return f"Training starts from the base weights: {decision.reason}."
        case Resume(entry=entry):
            return f"Training goes on from {entry.file}: {decision.reason}."
        case Finished():
            return "The training of this run is finished already."
        case Refuse():
            return decision.reason
