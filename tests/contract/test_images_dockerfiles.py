"""Every image is built the same careful way; what differs between them stands in the table below."""

import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT_IMAGES = ("operator", "training", "annotation-queue", "monitor")
ALL_IMAGES = (*PRODUCT_IMAGES, "devstack")
LABELS = ("title", "description", "vendor", "source", "version", "revision", "base.name")
SECRET_MOUNT = "--mount=type=secret,id=ca,target=/run/secrets/ca.pem"
REACHES_THE_NETWORK = re.compile(r"\b(pip install|uv pip install|uv sync|apt-get|curl|wget)\b")
BUILD_TOOLS = re.compile(r"\b(gcc|g\+\+|build-essential|make|git|curl|wget|python3-dev|python3-pip)\b")


@dataclass(frozen=True)
class Instruction:
    word: str
    rest: str


@dataclass(frozen=True)
class Stage:
    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def all(self, word: str) -> list[str]:
        return [one.rest for one in self.instructions if one.word == word]


@dataclass(frozen=True)
class Dockerfile:
    arguments: tuple[str, ...]  # before the first FROM
    stages: tuple[Stage, ...]

    @property
    def last(self) -> Stage:
        return self.stages[-1]

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)


def parse(image: str) -> Dockerfile:
    text = (ROOT / "images" / image / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    arguments: list[str] = []
    stages: list[tuple[str, str, list[Instruction]]] = []
    for line in joined.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append((base, name, []))
        elif stages:
            stages[-1][2].append(Instruction(word, rest))
        else:
            arguments.append(rest)
    return Dockerfile(
        tuple(arguments), tuple(Stage(base, name, tuple(steps)) for base, name, steps in stages)
    )


def test_the_images_are_the_known_ones() -> None:
    assert {path.parent.name for path in (ROOT / "images").glob("*/Dockerfile")} == set(ALL_IMAGES)


@pytest.mark.parametrize("image", ALL_IMAGES)
def test_every_stage_starts_from_the_base_that_the_caller_names(image: str) -> None:
    dockerfile = parse(image)
    assert len(dockerfile.arguments) == 1
    assert dockerfile.arguments[0].startswith("BASE_IMAGE=docker.io/library/python:3.11-slim-")
    names = {stage.name for stage in dockerfile.stages}
    assert {stage.base for stage in dockerfile.stages} <= {"${BASE_IMAGE}", *names}
    assert dockerfile.last.base == "${BASE_IMAGE}"
    assert len(dockerfile.stages) > 1


@pytest.mark.parametrize("image", ALL_IMAGES)
def test_nothing_is_unpinned_or_fetched_by_address(image: str) -> None:
    text = (ROOT / "images" / image / "Dockerfile").read_text(encoding="utf-8")
    assert ":latest" not in text
    for stage in parse(image).stages:
        assert not stage.all("ADD")
        for step in stage.all("RUN"):
            if "pip install" in step:
                pinned = "--require-hashes" in step or "--offline" in step or '"uv==${UV_VERSION}"' in step
                assert pinned, step


@pytest.mark.parametrize("image", ALL_IMAGES)
def test_only_steps_that_reach_the_network_see_the_ca_bundle(image: str) -> None:
    for stage in parse(image).stages:
        for step in stage.all("RUN"):
            reaches = bool(REACHES_THE_NETWORK.search(step)) and "--offline" not in step
            assert (SECRET_MOUNT in step) == reaches, step
            if reaches:
                # Without the secret the same step must work: the variable is set only where the file is.
                assert "if [ -s /run/secrets/ca.pem ]; then" in step
        for instruction in stage.instructions:
            if instruction.word in {"ENV", "ARG", "COPY"}:
                assert "ca.pem" not in instruction.rest
                assert not re.search(r"\b(SSL_CERT_FILE|PIP_CERT)\b", instruction.rest)


@pytest.mark.parametrize("image", ALL_IMAGES)
def test_the_last_stage_runs_as_nobody_in_particular(image: str) -> None:
    last = parse(image).last
    assert last.all("USER") == ["10001:10001"]
    after_user = [one.word for one in last.instructions][
        [one.word for one in last.instructions].index("USER") :
    ]
    assert "RUN" not in after_user
    assert "COPY" not in after_user
    assert len(last.all("ENTRYPOINT")) == 1
    assert isinstance(json.loads(last.all("ENTRYPOINT")[0]), list)


@pytest.mark.parametrize("image", ALL_IMAGES)
def test_the_last_stage_has_no_build_tools(image: str) -> None:
    last = parse(image).last
    assert not any("--from=tools" in step for step in last.all("COPY"))
    for step in last.all("RUN"):
        assert not BUILD_TOOLS.search(step), step
        if "/opt/tools" in step:
            # What comes within a step has to go within it: a later one would only hide it.
            assert re.search(r"rm -rf [^&]*/opt/tools$", step)
    assert any("pip uninstall" in step for step in last.all("RUN"))


@pytest.mark.parametrize("image", ALL_IMAGES)
def test_labels_name_the_image_and_come_last(image: str) -> None:
    last = parse(image).last
    assert last.instructions[-1].word == "LABEL"
    label = last.instructions[-1].rest
    for name in LABELS:
        assert f"org.opencontainers.image.{name}=" in label
    assert f'org.opencontainers.image.title="azaion-{image}"' in label
    for argument in ("VERSION", "REVISION", "SOURCE"):
        position = next(
            number
            for number, one in enumerate(last.instructions)
            if one.word == "ARG" and one.rest.startswith(argument)
        )
        assert not any(one.word in {"RUN", "COPY"} for one in last.instructions[position:])


@pytest.mark.parametrize("image", PRODUCT_IMAGES)
def test_our_code_is_the_last_layer_and_holds_the_sources_alone(image: str) -> None:
    dockerfile = parse(image)
    layers = [one.rest for one in dockerfile.last.instructions if one.word in {"RUN", "COPY"}]
    assert layers[-1] == "--from=application /opt/azaion /opt/azaion"
    before = [stage for stage in dockerfile.stages if stage.name != "application"]
    assert not any("src" in step.split() for stage in before for step in stage.all("COPY"))
    assert not any("/src" in step.split()[0] for stage in before for step in stage.all("COPY"))


@pytest.mark.parametrize(
    ("image", "selection"),
    [
        ("operator", "--package azaion-operator"),
        ("training", "--package azaion-jobs --extra train"),
        ("annotation-queue", "--package azaion-jobs --extra queue"),
        ("monitor", "--package azaion-jobs --extra monitor"),
    ],
)
def test_dependencies_are_the_images_own_share_of_the_lock(image: str, selection: str) -> None:
    dockerfile = parse(image)
    (export,) = (step for step in dockerfile.stage("requirements").all("RUN") if "uv export" in step)
    assert f"uv export --frozen --no-dev {selection} --no-emit-workspace" in export
    members = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]["workspace"][
        "members"
    ]
    copied = " ".join(dockerfile.stage("requirements").all("COPY"))
    for member in members:
        assert f"{member}/pyproject.toml" in copied
    for stage in dockerfile.stages:
        for step in stage.all("RUN"):
            if "--require-hashes" in step and "uv pip install" in step:
                assert "--no-deps --no-build" in step


@pytest.mark.parametrize("image", PRODUCT_IMAGES)
def test_bytecode_does_not_depend_on_when_it_was_built(image: str) -> None:
    compiling = [
        step for stage in parse(image).stages for step in stage.all("RUN") if "--compile-bytecode" in step
    ]
    assert len(compiling) >= 2
    for step in compiling:
        mode = "CHECKED_HASH" if "--offline" in step else "UNCHECKED_HASH"
        assert f"PYC_INVALIDATION_MODE={mode} " in step


@pytest.mark.parametrize("image", PRODUCT_IMAGES)
def test_python_behaves_as_a_service(image: str) -> None:
    environment = " ".join(parse(image).last.all("ENV"))
    assert "PYTHONUNBUFFERED=1" in environment
    assert "PYTHONDONTWRITEBYTECODE=1" in environment
    assert "HOME=/tmp" in environment
    assert "PYTHONOPTIMIZE" not in environment
    # A folder that anyone may write to would be the first place where `python -m` looks for modules.
    assert parse(image).last.all("WORKDIR") == ["/opt/azaion"]


def test_the_stages_that_images_share_are_the_same_text() -> None:
    assert len({parse(image).stage("tools") for image in PRODUCT_IMAGES}) == 1


@pytest.mark.parametrize(
    ("image", "entry", "command"),
    [
        ("operator", "azaion_operator", []),
        ("training", "azaion_jobs", ['["self-check", "train"]']),
        ("annotation-queue", "azaion_jobs", ['["self-check", "queue"]']),
        ("monitor", "azaion_jobs", ['["self-check", "monitor"]']),
    ],
)
def test_entry_points(image: str, entry: str, command: list[str]) -> None:
    last = parse(image).last
    assert last.all("ENTRYPOINT") == [f'["python", "-m", "{entry}"]']
    assert last.all("CMD") == command


def test_the_training_image_never_goes_out() -> None:
    environment = dict(
        pair.split("=", 1)
        for block in parse("training").last.all("ENV")
        for pair in block.split()
        if "=" in pair
    )
    expected = {
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": "/opt/ultralytics",
        "ULTRALYTICS_SAFE_LOAD": "1",
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }
    assert expected.items() <= environment.items()


def test_baked_settings_are_complete_and_switch_every_integration_off() -> None:
    """An incomplete file would be completed with defaults, which are on."""
    settings = json.loads((ROOT / "images/training/ultralytics-settings.json").read_text(encoding="utf-8"))
    source = next(
        path for folder in sys.path if (path := Path(folder) / "ultralytics/utils/__init__.py").is_file()
    ).read_text(encoding="utf-8")
    version = re.search(r'class SettingsManager.*?version="([0-9.]+)"', source, re.DOTALL)
    defaults = re.search(r"self\.defaults = \{(.*?)\n {8}\}", source, re.DOTALL)
    assert version is not None
    assert defaults is not None
    assert settings["settings_version"] == version.group(1)
    assert set(settings) == set(re.findall(r'^\s+"(\w+)":', defaults.group(1), re.MULTILINE))
    assert not any(value for value in settings.values() if isinstance(value, bool))
    assert settings["api_key"] == settings["openai_api_key"] == settings["uuid"] == ""
    for name in ("datasets_dir", "weights_dir", "runs_dir"):
        assert settings[name].startswith("/tmp/")
