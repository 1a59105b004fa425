"""`prepare` and `dataset preview`, as the containers and people run them."""

import json
import os
import signal
from pathlib import Path

import pytest

from azaion_jobs.__main__ import main
from azaion_jobs.contract import ExitCode, Outcome, Verdict
from azaion_jobs.dataset import augmentation, forming, manifest, preview
from azaion_jobs.dataset.errors import WorkerLostError
from azaion_jobs.dataset.forming import Options, form
from azaion_jobs.tree import Tree
from support.annotated_tree import a_tree, add, real_jpeg


@pytest.fixture(autouse=True)
def _undisturbed_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    # These run in this process: its log handlers belong to pytest.
    monkeypatch.setattr("azaion_jobs.logs.configure", lambda **_: None)


class Prepare:
    """`prepare` on one tree, and its verdict."""

    def __init__(self, tree: Tree, folder: Path) -> None:
        self.tree = tree
        self.config = folder / "config.yaml"
        self.configure("{}")
        self._verdict = folder / "verdict.json"

    def configure(self, training: str) -> None:
        self.config.write_text(f"directories: {{root: {self.tree.root}}}\ntraining: {training}\n")

    def __call__(self, *arguments: str) -> Verdict:
        code = main(["prepare", "--config", str(self.config), "--verdict", str(self._verdict), *arguments])
        verdict = Verdict.from_json(self._verdict.read_text(encoding="utf-8"))
        assert verdict.outcome.exit_code is code
        return verdict


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    return Prepare(a_tree(tmp_path / "azaion", 10), tmp_path)


def test_prepare_forms_and_then_reuses(prepare: Prepare, caplog: pytest.LogCaptureFixture) -> None:
    first = prepare()
    (folder,) = prepare.tree.datasets.iterdir()
    made = manifest.read(folder)
    assert (first.outcome, first.reason) == (Outcome.DONE, "DatasetFormed")
    assert first.message == (
        f"The dataset {folder.name} has been formed: 10 images (7 train, 2 valid, 1 test), hash {made.hash}."
    )
    assert first.metrics["images_valid"] == 2
    second = prepare()
    assert second.reason == "DatasetReused"
    assert "is reused" in second.message


def test_prepare_does_as_it_is_told(prepare: Prepare) -> None:
    prepare("--name", "mine", "--seed", "7", "--split", "50/30/20")
    prepare("--name", "films", "--group-by", "medium", "--run-uid", "abc-1", "--seed", "8")
    made = manifest.read(prepare.tree.dataset("mine").root)
    assert (made.seed, made.split, made.group_by, made.run) == (
        7,
        {"train": 50, "valid": 30, "test": 20},
        "image",
        "",
    )
    films = manifest.read(prepare.tree.dataset("films").root)
    assert (films.seed, films.group_by, films.run) == (8, "medium", "abc-1")


def test_prepare_takes_the_split_of_the_configuration(prepare: Prepare) -> None:
    prepare.configure("{split: {train: 40, valid: 40, test: 20}}")
    assert prepare().metrics["images_valid"] == 4


def test_an_empty_source_is_formed_and_the_log_says_that_nothing_can_be_trained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    verdict = Prepare(a_tree(tmp_path / "azaion"), tmp_path)()
    assert verdict.outcome is Outcome.DONE
    assert "The split train has no image" in caplog.text
    assert "The split valid has no image" in caplog.text


def break_classes(tree: Tree) -> None:
    tree.classes.write_text('[{"Id": 99, "Name": "x"}]')


def lose_classes(tree: Tree) -> None:
    tree.classes.unlink()


def unmount(tree: Tree) -> None:
    tree.marker.unlink()


def change_dataset(tree: Tree) -> None:
    made = form(tree, Options(name="mine"))
    next(tree.dataset(made.name).split("train").labels.iterdir()).write_text("")


@pytest.mark.parametrize(
    ("trouble", "arguments", "code", "sentence"),
    [
        (lose_classes, [], ExitCode.BAD_DATA, "classes.json is missing"),
        (break_classes, [], ExitCode.BAD_DATA, "Id must be a whole number from 0 to 19"),
        (change_dataset, ["--name", "mine"], ExitCode.BAD_DATA, "has changed since its manifest was written"),
        (unmount, [], ExitCode.STORAGE_FAULT, "is not mounted"),
        (None, ["--name", "../other"], ExitCode.BAD_SPEC, "must be one plain name without a slash"),
        (None, ["--run-uid", "a/b"], ExitCode.BAD_SPEC, "The run UID 'a/b' must be"),
    ],
)
def test_bad_input_ends_with_one_clear_sentence(
    prepare: Prepare, trouble: object, arguments: list[str], code: ExitCode, sentence: str
) -> None:
    if callable(trouble):
        trouble(prepare.tree)
    verdict = prepare(*arguments)
    assert verdict.outcome.exit_code is code
    assert sentence in verdict.message
    assert "\n" not in verdict.message
    assert verdict.traceback == ""


def test_a_wrong_configuration_is_a_wrong_spec(prepare: Prepare) -> None:
    prepare.configure("{epochs: 0}")
    verdict = prepare()
    assert verdict.outcome is Outcome.BAD_SPEC
    assert "training.epochs" in verdict.message


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OSError(28, "No space left on device", "datasets"), Outcome.STORAGE_FAULT),
        (WorkerLostError("A process was killed."), Outcome.OUT_OF_MEMORY),
        (RuntimeError("surprise"), Outcome.INTERNAL_ERROR),
    ],
)
def test_trouble_has_its_exit_code(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: Outcome
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(forming, "form", fail)
    verdict = prepare()
    assert verdict.outcome is outcome
    assert str(error.args[-1]) in verdict.message
    assert bool(verdict.traceback) is (outcome is Outcome.INTERNAL_ERROR)


def test_a_stop_on_request_has_its_exit_code(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def stopped(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([], 5)
        except Exception:  # noqa: BLE001 - what a library might do
            raise AssertionError("swallowed") from None

    monkeypatch.setattr(forming, "form", stopped)
    assert prepare().outcome is Outcome.STOPPED_ON_REQUEST
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    "arguments",
    [["--split", "70/20"], ["--split", "70/20/20"], ["--seed", "-1"], ["--seed", "x"], ["--processes", "0"]],
)
def test_a_wrong_option_is_a_wrong_spec(
    prepare: Prepare, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        prepare(*arguments)
    assert left.value.code == ExitCode.BAD_SPEC
    assert arguments[0] in capsys.readouterr().err


def test_a_verdict_that_cannot_be_written_is_no_failure(
    prepare: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    code = main(["prepare", "--config", str(prepare.config), "--verdict", str(prepare.tree.root)])
    assert code is ExitCode.DONE
    assert "The verdict could not be written" in caplog.text


@pytest.mark.parametrize(("training", "flags"), [("{augment: true}", []), ("{}", ["--augment"])])
def test_augmentation_comes_first_and_its_findings_reach_the_manifest(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, training: str, flags: list[str]
) -> None:
    tree = prepare.tree
    corrupt = manifest.Corrupt("gone", "the label is missing")

    def augment(*_: object, **__: object) -> augmentation.Augmented:
        add(tree.data_processed, "one")
        return augmentation.Augmented(1, 0, 0, 0, (corrupt,))

    monkeypatch.setattr(augmentation, "augment", augment)
    prepare.configure(training)
    prepare("--name", "augmented", *flags)
    made = manifest.read(tree.dataset("augmented").root)
    assert (made.source, made.images, made.corrupt) == ("data-processed", 1, (corrupt,))


def test_augmentation_can_be_switched_off(prepare: Prepare) -> None:
    prepare.configure("{augment: true}")
    prepare("--name", "plain", "--no-augment")
    assert manifest.read(prepare.tree.dataset("plain").root).source == "data"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    tree = a_tree(tmp_path / "azaion")
    for number in range(6):
        add(
            tree.data,
            f"a{number}",
            image=real_jpeg(640, 480, seed=number),
            label="19 0.5 0.5 0.5 0.5\n70 .1 .1 .2 .2\n",
        )
    return tree.dataset(form(tree, Options(name="d")).name).root


def run_preview(*arguments: object) -> int:
    return main(["dataset", "preview", *map(str, arguments)])


def test_preview_draws_a_seeded_sample(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image  # noqa: PLC0415

    assert run_preview(dataset, "--out", tmp_path / "out", "--count", 3) == ExitCode.DONE
    pictures = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(pictures) == sorted((tmp_path / "out").iterdir())
    assert len(pictures) == 3
    for picture in pictures:
        split, stem = picture.stem.split("-")
        with Image.open(dataset / split / "images" / f"{stem}.jpg") as original, Image.open(picture) as drawn:
            assert drawn.size == original.size
            assert drawn.tobytes() != original.tobytes()
            # The left side of the box, below its name.
            red, green, blue = drawn.convert("RGB").getpixel((161, 240))  # type: ignore[misc]
            wanted = preview.colour(19)
            assert all(abs(one - other) < 60 for one, other in zip((red, green, blue), wanted, strict=True))
    run_preview(dataset, "--out", tmp_path / "again", "--count", 3)
    run_preview(dataset, "--out", tmp_path / "other", "--count", 3, "--seed", 1)
    names = [{path.name for path in (tmp_path / folder).iterdir()} for folder in ("out", "again", "other")]
    assert names[0] == names[1] != names[2]


def test_preview_finds_a_dataset_by_name(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"directories: {{root: {dataset.parents[1]}}}\n")
    assert run_preview("d", "--config", config, "--out", tmp_path / "out") == ExitCode.DONE
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_preview_refuses_what_is_no_dataset(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"directories: {{root: {dataset.parents[1]}}}\n")
    assert run_preview(tmp_path, "--out", tmp_path / "out") == ExitCode.BAD_DATA
    assert "is no complete dataset" in capsys.readouterr().err
    assert run_preview("../d", "--config", config, "--out", tmp_path / "out") == ExitCode.BAD_SPEC
    assert "is not the name of one file or folder" in capsys.readouterr().err
    assert run_preview(dataset, "--out", config) == ExitCode.STORAGE_FAULT
    assert run_preview("d", "--config", tmp_path / "none", "--out", tmp_path / "out") == ExitCode.BAD_SPEC


def test_colours_of_classes_differ() -> None:
    assert len({preview.colour(slot) for slot in range(80)}) == 80


def test_prepare_logs_json(prepare: Prepare, tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    result = subprocess.run(
        [sys.executable, "-m", "azaion_jobs", "prepare", "--config", str(prepare.config)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(line["service"] == "prepare" for line in lines)
    ready = next(line for line in lines if line["message"] == "The dataset is ready")
    (folder,) = prepare.tree.datasets.iterdir()
    assert (ready["context"]["dataset"], ready["context"]["hash"]) == (
        folder.name,
        manifest.read(folder).hash,
    )
