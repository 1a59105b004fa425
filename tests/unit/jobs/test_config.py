import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from azaion_jobs.config import VARIABLES, Config, ConfigError, Kind, Split, Training

DEFAULTS = {
    "api": {
        "url": "https://api.azaion.com",
        "email": None,
        "password": None,
        "timeoutSeconds": 60,
        "caFile": "",
        "cdnFolder": "",
    },
    "queue": {
        "host": "127.0.0.1",
        "port": 5552,
        "username": "azaion_receiver",
        "password": None,
        "name": "azaion-annotations",
        "tls": False,
        "start": "first",
        "groupMessages": 100,
        "groupSeconds": 1,
        "maxMessageBytes": 67108864,
    },
    "directories": {
        "root": "/azaion",
        "data": "data",
        "dataSeed": "data-seed",
        "dataDeleted": "data_deleted",
    },
    "training": {
        "model": "yolo26m.pt",
        "epochs": 120,
        "batchSize": 11,
        "imageSize": 1280,
        "savePeriod": 1,
        "workers": 24,
        "seed": 0,
        "keepCheckpoints": 3,
        "allowModelDownload": True,
        "split": {"train": 70, "valid": 20, "test": 10},
        "augment": False,
    },
    "export": {
        "onnx": {"enabled": True, "imageSize": 1280, "batchMax": 8, "confidence": 0.25, "iou": 0.7},
        "minMap": 0,
        "maxMapDrop": 0.02,
        "folder": "models",
        "resources": ["azaion.onnx"],
    },
}


class Place:
    """A config.yaml and mounted secrets of our own, and no variable of the machine's."""

    def __init__(self, root: Path) -> None:
        self.file = root / "config.yaml"
        self.secrets = root / "secrets"
        self.secrets.mkdir()
        self.file.write_text("")

    def load(self, document: Any = None, **environ: str) -> Config:
        if document is not None:
            self.file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        return Config.load(self.file, environ, secrets=self.secrets)

    def problems(self, document: Any = None, **environ: str) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self.load(document, **environ)
        return caught.value.problems

    def problem(self, document: Any = None, **environ: str) -> str:
        (only,) = self.problems(document, **environ)
        return only


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    return {
        key: without_nulls(value) if isinstance(value, dict) else value
        for key, value in document.items()
        if value is not None
    }


# --- shape ---


def test_shape_and_defaults_are_those_of_the_format(place: Place) -> None:
    dumped = place.load().model_dump()
    dumped["export"]["resources"] = list(dumped["export"]["resources"])
    assert dumped == DEFAULTS


def test_the_format_with_all_its_keys_reads_back_as_the_defaults(place: Place) -> None:
    assert place.load(DEFAULTS) == Config()


def test_yaml_is_camel_case_and_python_is_not(place: Place) -> None:
    config = place.load({"training": {"imageSize": 640}, "export": {"onnx": {"batchMax": 4}}})
    assert (config.training.image_size, config.export.onnx.batch_max) == (640, 4)
    assert config.model_dump()["export"]["onnx"]["batchMax"] == 4
    assert Training(image_size=640).model_dump()["imageSize"] == 640


@pytest.mark.parametrize(
    ("document", "setting", "advice"),
    [
        ({"trainig": {}}, "trainig", "write training instead"),
        ({"training": {"image_size": 640}}, "training.image_size", "write imageSize instead"),
        ({"training": {"split": {"tset": 1}}}, "training.split.tset", "write test instead"),
        ({"export": {"onnx": {"qqq": 1}}}, "export.onnx.qqq", "remove it or use one of enabled, imageSize"),
        ({7: {}}, "7", "remove it"),
    ],
)
def test_an_unknown_key_is_refused_at_every_level(
    place: Place, document: object, setting: str, advice: str
) -> None:
    problem = place.problem(document)
    assert problem.startswith(f"{setting} is not a known setting; {advice}")
    assert str(place.file) in problem


def test_nothing_can_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError):
        Config().training.epochs = 3  # type: ignore[misc]


# --- precedence ---


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(place: Place) -> None:
    document = {"training": {"epochs": 5, "batchSize": 7}}
    config = place.load(document, TRAINING_EPOCHS="9")
    assert (config.training.epochs, config.training.batch_size, config.training.workers) == (9, 7, 24)


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_every_variable_reaches_its_setting(place: Place, variable: Any) -> None:
    text = {
        "AZAION_API_URL": "https://other.example.com",
        "AZAION_ROOT_DIR": "/srv/azaion",
    }.get(variable.name, "64" if variable.kind is Kind.WHOLE_NUMBER else "other")
    found: Any = place.load(**{variable.name: text}).model_dump()
    for part in variable.path:
        found = found[part]
    value = found.get_secret_value() if variable.is_secret else found
    assert value == (int(text) if variable.kind is Kind.WHOLE_NUMBER else text)


SOURCES = st.fixed_dictionaries({}, optional={"variable": st.integers(1, 99), "file": st.integers(100, 199)})


@given(SOURCES, SOURCES)
def test_settings_are_merged_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, epochs: dict[str, int], workers: dict[str, int]
) -> None:
    place = Place(tmp_path_factory.mktemp("place"))
    sources = {"epochs": epochs, "workers": workers}
    document = {name: found["file"] for name, found in sources.items() if "file" in found}
    environ = {
        f"TRAINING_{name.upper()}": str(found["variable"])
        for name, found in sources.items()
        if "variable" in found
    }
    config = place.load({"training": document}, **environ)
    assert config.training.epochs == epochs.get("variable", epochs.get("file", 120))
    assert config.training.workers == workers.get("variable", workers.get("file", 24))


def test_an_empty_variable_counts_as_not_set(place: Place) -> None:
    assert place.load({"training": {"epochs": 5}}, TRAINING_EPOCHS="").training.epochs == 5


def test_settings_and_sections_without_a_value_count_as_not_set(place: Place) -> None:
    config = place.load("api:\n  url:\n  email: # from the Secret\ntraining:\n")
    assert config == Config()


def test_in_a_pod_variables_are_not_read(place: Place) -> None:
    # A Service named rabbitmq makes Kubernetes set exactly this.
    config = place.load(KUBERNETES_SERVICE_HOST="10.0.0.1", RABBITMQ_PORT="tcp://10.0.0.7:5552")
    assert config.queue.port == 5552


def test_in_a_pod_the_file_must_be_mounted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = place.file.with_name("nowhere.yaml")
    monkeypatch.setattr("azaion_jobs.config._config.CONFIG_FILE", usual)
    assert Config.load(environ={}, secrets=place.secrets) == Config()
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist; mount"):
        Config.load(environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, secrets=place.secrets)


def test_azaion_config_names_the_file(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("training: {epochs: 3}")
    environ = {"AZAION_CONFIG": str(other)}
    assert Config.load(environ=environ, secrets=place.secrets).training.epochs == 3
    assert Config.load(place.file, environ, secrets=place.secrets).training.epochs == 120


def test_a_file_that_was_asked_for_must_be_there(place: Place) -> None:
    place.file.unlink()
    assert place.problem() == (
        f"{place.file} does not exist; mount or create it, or let AZAION_CONFIG name another file."
    )


# --- secrets ---


def test_a_mounted_secret_wins_over_the_variable_and_that_over_the_file(place: Place) -> None:
    document = {"api": {"email": "file", "password": "file"}, "queue": {"password": "file"}}
    (place.secrets / "api-email").write_text("mounted\n")
    config = place.load(document, AZAION_API_EMAIL="variable", AZAION_API_PASSWORD="variable")
    secrets = (config.api.email, config.api.password, config.queue.password)
    assert [secret and secret.get_secret_value() for secret in secrets] == ["mounted", "variable", "file"]
    assert config.secret_values() == ("mounted", "variable", "file")


def test_an_empty_mounted_secret_counts_as_not_there(place: Place) -> None:
    (place.secrets / "api-email").write_text("\n")
    assert place.load(AZAION_API_EMAIL="variable").secret_values() == ("variable",)


def test_each_secret_has_its_file(place: Place) -> None:
    for name in ("api-email", "api-password", "broker-password"):
        (place.secrets / name).write_bytes(f" {name} \r\n".encode())
    assert place.load().secret_values() == (" api-email ", " api-password ", " broker-password ")


def test_loading_again_sees_a_rotated_secret(place: Place) -> None:
    for value in ("before", "after"):
        (place.secrets / "broker-password").write_text(value)
        assert place.load().secret_values() == (value,)


def test_missing_secrets_are_no_error_until_somebody_needs_them(place: Place) -> None:
    config = place.load({"queue": {"password": ""}}, AZAION_API_EMAIL="a@example.com")
    config.require("api.email")
    with pytest.raises(ConfigError) as caught:
        config.require("api.email", "api.password", "queue.password")
    assert caught.value.problems == (
        (
            "api.password (AZAION_API_PASSWORD) is missing; put it into the Secret as api-password or,"
            " outside the cluster, set the variable."
        ),
        (
            "queue.password (RABBITMQ_PASSWORD) is missing; put it into the Secret as broker-password or,"
            " outside the cluster, set the variable."
        ),
    )
    with pytest.raises(ValueError, match=r"training\.epochs is not a secret"):
        config.require("training.epochs")


def test_secrets_are_never_shown(place: Place) -> None:
    config = place.load(AZAION_API_PASSWORD="hunter2", RABBITMQ_PASSWORD="hunter2")
    assert "hunter2" not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"


def test_unreadable_secrets_are_named(place: Place) -> None:
    (place.secrets / "api-email").mkdir()
    (place.secrets / "api-password").write_bytes(b"\xff\xfe")
    problems = place.problems()
    assert problems[0].startswith(
        f"api.email cannot be read from {place.secrets / 'api-email'} (Is a directory)"
    )
    assert problems[1].startswith(f"api.password in {place.secrets / 'api-password'} is not UTF-8 text")


# --- errors ---


def test_all_problems_are_told_at_once(place: Place) -> None:
    problems = place.problems(
        {
            "training": {"imageSize": 1000, "workers": 0, "epoch": 3, "split": {"train": 60}},
            "queue": {"start": "middle"},
            "directories": {"dataDeleted": "data"},
            "export": "onnx",
        },
        TRAINING_EPOCHS="many",
        RABBITMQ_PORT="70000",
        EXPORT_ONNX_IMGSZ="640",
    )
    file = place.file
    assert sorted(problems) == sorted(
        [
            "training.epochs must be a whole number; correct it in the variable TRAINING_EPOCHS.",
            (
                "queue.port (RABBITMQ_PORT) is 70000 but must be at most 65535;"
                " correct it in the variable RABBITMQ_PORT."
            ),
            f"queue.start must be 'first', 'next' or 'refuse'; correct it in {file}.",
            (
                "directories.dataDeleted (AZAION_DATA_DELETED_DIR) must differ from directories.data;"
                f" correct it in {file}."
            ),
            (
                "training.imageSize (TRAINING_IMGSZ) is 1000 but must be a multiple of 32,"
                f" such as 640 or 1280; correct it in {file}."
            ),
            f"training.workers (TRAINING_WORKERS) is 0 but must be greater than 0; correct it in {file}.",
            f"training.split must add up to 100 percent; correct it in {file}.",
            f"training.epoch is not a known setting; write epochs instead in {file}.",
            f"export must be a section with settings below it; correct it in {file}.",
        ]
    )


def test_the_text_of_the_error_lists_the_sentences(place: Place) -> None:
    with pytest.raises(ConfigError) as caught:
        place.load({"training": {"workers": 0, "epochs": 0}})
    lines = str(caught.value).splitlines()
    assert lines[0] == "The configuration has 2 problems:"
    assert lines[1:] == [f"- {problem}" for problem in caught.value.problems]
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems  # noqa: S301 - our own


@pytest.mark.parametrize("value", [12345, ["hunter2"], {"hunter2": 1}, True, 1.5])
@pytest.mark.parametrize(("section", "key"), [("api", "email"), ("api", "password"), ("queue", "password")])
def test_a_wrong_secret_is_not_repeated(place: Place, section: str, key: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        place.load({section: {key: value}})
    assert "must be text; put it in quotes" in str(caught.value)
    for shown in (str(caught.value), repr(caught.value), repr(caught.value.__cause__)):
        assert "hunter2" not in shown
        assert "12345" not in shown


def test_a_secret_in_the_wrong_place_is_not_repeated(place: Place) -> None:
    shown = "\n".join(
        place.problems(
            {
                "api": {"url": "https://user:hunter2@host"},
                "queue": {"host": "u:hunter2@h", "start": "hunter2"},
            },
            TRAINING_EPOCHS="hunter2",
            AZAION_ROOT_DIR="hunter2",
            TRAINING_MODEL="/hunter2",
        )
    )
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("training: {epochs: hunter2", "is not valid YAML near line 1, column 27; correct it."),
        ("a: 1\n\tb: hunter2", "is not valid YAML near line 2, column 1; correct it."),
        (
            "training:\n  epochs: 1\n  epochs: 2\n",
            "has the same key twice, again in line 3; remove one of them.",
        ),
        ("- hunter2", "must consist of sections such as 'training:' with settings below them."),
        ("hunter2", "must consist of sections such as 'training:' with settings below them."),
        ("training: !!python/name:os.system", "is not valid YAML near line 1, column 11; correct it."),
        ("api: {email: 2026-99-99}", "is not valid YAML in UTF-8; correct it."),
        ("[" * 2000, "is not valid YAML in UTF-8; correct it."),
    ],
)
def test_a_broken_file_is_named_with_its_line(place: Place, text: str, complaint: str) -> None:
    assert place.problem(text) == f"{place.file} {complaint}"


def test_a_file_that_is_not_utf8_is_named(place: Place) -> None:
    place.file.write_bytes(b"api: {url: \xff\xfe}")
    assert "is not valid YAML" in place.problem()


def test_a_folder_in_place_of_the_file_is_named(place: Place) -> None:
    place.file.unlink()
    place.file.mkdir()
    assert place.problem() == f"{place.file} cannot be read (Is a directory); make it a readable file."


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("api.url", "api.example.com", "must be an address such as"),
        ("api.url", "ftp://api.example.com", "must be an address such as"),
        ("api.url", "https://api.example.com:port", "must be an address such as"),
        ("api.url", "https://api.example.com/?a=b", "must be an address such as"),
        ("api.url", "https://[::1", "must be an address such as"),
        ("api.timeoutSeconds", 0, "is 0 but must be greater than 0"),
        ("api.timeoutSeconds", float("inf"), "must be a finite number"),
        ("api.caFile", "ca.pem", "must be an absolute path without '..'"),
        ("api.cdnFolder", "a/b", "must be one plain name without a slash"),
        ("queue.host", "amqp://host", "must be a host name or an address alone"),
        ("queue.host", "", "must be one word without blanks"),
        ("queue.port", 0, "is 0 but must be greater than 0"),
        ("queue.port", "5552", "must be a whole number"),
        ("queue.username", "two words", "must be one word without blanks"),
        ("queue.tls", "yes", "must be true or false"),
        ("queue.maxMessageBytes", -1, "is -1 but must be greater than 0"),
        ("directories.root", "azaion", "must be an absolute path without '..'"),
        ("directories.root", "/a/../etc", "must be an absolute path without '..'"),
        ("directories.root", "//", "must not be the root of the file system"),
        ("directories.data", "a/b", "must be one plain name without a slash"),
        ("directories.data", "..", "must be one plain name without a slash"),
        ("directories.data", "", "must be one plain name without a slash"),
        ("directories.data", ".data", "must not start with a dot"),
        ("directories.data", "models", "must not be a name that the tree uses for something else"),
        ("directories.dataSeed", "data", "must differ from directories.data"),
        ("directories.dataSeed", "data_deleted", "must differ from directories.dataSeed"),
        ("training.model", "/models/x.pt", "must be one plain name without a slash"),
        ("training.epochs", True, "must be a whole number"),
        ("training.epochs", 1.0, "must be a whole number"),
        ("training.imageSize", 0, "is 0 but must be greater than 0"),
        ("training.seed", -1, "is -1 but must be at least 0"),
        ("training.split.valid", 0, "is 0 but must be greater than 0"),
        ("export.onnx.imageSize", 100, "is 100 but must be a multiple of 32"),
        ("export.onnx.confidence", 1, "is 1 but must be less than 1"),
        ("export.minMap", 1.5, "is 1.5 but must be at most 1"),
        ("export.resources", [], "must have at least one entry"),
        ("export.resources", ["a", "a"], "must not name the same resource twice"),
        ("export.resources", "azaion.onnx", "must be a list"),
        ("export.folder", "a/b", "must be one plain name without a slash"),
    ],
)
def test_each_rule_has_its_sentence(place: Place, path: str, value: object, rule: str) -> None:
    document: Any = value
    for part in reversed(path.split(".")):
        document = {part: document}
    assert rule in place.problem(document)


def test_percentages_add_up_whatever_they_are() -> None:
    assert Split(train=80, valid=20, test=0).test == 0
    with pytest.raises(ValidationError):
        Split(train=80, valid=20, test=10)


def test_not_even_pydantic_repeats_a_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"api": {"password": 12345}})
    assert "12345" not in str(caught.value)
