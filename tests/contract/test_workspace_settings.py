"""Settings are read in one place, paths are named in one place, and .env.example agrees with both."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest
import yaml

from azaion_jobs import tree
from azaion_jobs.config import PUBLISHING_SECRETS, VARIABLES, Config, Directories
from support.repository import ROOT, modules

EXAMPLE = ROOT / ".env.example"

# Names that mean nothing but a file or folder of the tree, or the file of settings.
TELLING = frozenset(
    {
        *("config.yaml", ".azaion-tree", "offset.yaml", "classes.json", "checkpoint.txt"),
        *("data-seed", "data_deleted", "data-processed", "data-corrupted", "datasets"),
        *("data.yaml", "manifest.json", "health.json", "tree.lock", "group.json", "media.jsonl", "parked"),
        *(
            "lease.json",
            "lease.lock",
            "supervisor.json",
            "verdict.json",
            "checkpoints.json",
            "progress.jsonl",
        ),
        *("results.csv", "last.pt", "best.pt", "final.pt", "azaion.pt", "azaion.pt.prev", "current.json"),
    }
)
# Names that are also ordinary words: they count only where a path is put together.
ORDINARY = frozenset({"data", "models", "queue", "status", "logs", "images", "labels", "weights", "staged"})

# Module -> name -> why it may be spelled there.
EXCEPTIONS = {
    "azaion_jobs.config._config": {"config.yaml": "the place where it is mounted; this module reads it"},
    "azaion_jobs.config._model": {
        "data-seed": "the default of a setting",
        "data_deleted": "the default of a setting",
    },
}
THE_PLACE = "azaion_jobs.tree"


def spelled(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Names of the tree that a module spells, with their lines; docstrings do not count."""
    docstrings = {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    in_paths = set()
    for node in ast.walk(module):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            in_paths |= {id(node.left), id(node.right)}
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name in ("Path", "PurePath", "PosixPath", "PurePosixPath", "joinpath", "with_name"):
                in_paths |= {id(argument) for argument in node.args}
    for node in ast.walk(module):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings:
            continue
        parts = set(PurePosixPath(node.value).parts) if " " not in node.value else set()
        yield from ((node.lineno, name) for name in sorted(parts & TELLING))
        if id(node) in in_paths or node.value.startswith("/azaion/"):
            yield from ((node.lineno, name) for name in sorted(parts & ORDINARY))


def test_no_other_module_spells_the_tree_or_the_file_of_settings() -> None:
    found = {
        f"{name}, line {line}: {word}"
        for name, module in modules("azaion-jobs", "azaion-operator")
        for line, word in spelled(module)
        if name != THE_PLACE and word not in EXCEPTIONS.get(name, {})
    }
    assert found == set(), "take paths from Config.tree, or give a reason in EXCEPTIONS"


def test_no_exception_has_outlived_its_use() -> None:
    used = {(name, word) for name, module in modules("azaion-jobs") for _, word in spelled(module)}
    assert {(name, word) for name, words in EXCEPTIONS.items() for word in words} <= used


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('open("/etc/azaion/config.yaml")', ["config.yaml"]),
        ('NAME = "data-seed"', ["data-seed"]),
        ('f"{root}/offset.yaml"', ["offset.yaml"]),
        ('root / "models" / name', ["models"]),
        ('Path(root, "queue")', ["queue"]),
        ('root.joinpath("data", "images")', ["data", "images"]),
        ('X = "/azaion/models"', ["models"]),
        ('run["status"]', []),
        ('"""Reads config.yaml."""', []),
        ('raise ValueError("config.yaml is empty")', []),
    ],
)
def test_spellings_are_recognised(source: str, words: list[str]) -> None:
    assert [word for _, word in spelled(ast.parse(source))] == words


def test_the_names_looked_for_are_those_of_the_tree() -> None:
    assert tree.FIXED_NAMES <= TELLING | ORDINARY
    directories = Directories()
    assert {directories.data, directories.data_seed, directories.data_deleted} <= TELLING | ORDINARY


def test_variables_are_nineteen_and_secrets_five_more() -> None:
    assert [variable.name for variable in VARIABLES] == [
        *("AZAION_API_URL", "AZAION_API_EMAIL", "AZAION_API_PASSWORD"),
        *("RABBITMQ_HOST", "RABBITMQ_PORT", "RABBITMQ_USER", "RABBITMQ_PASSWORD", "RABBITMQ_QUEUE_NAME"),
        *("AZAION_ROOT_DIR", "AZAION_DATA_DIR", "AZAION_DATA_SEED_DIR", "AZAION_DATA_DELETED_DIR"),
        *("TRAINING_MODEL", "TRAINING_EPOCHS", "TRAINING_BATCH_SIZE", "TRAINING_IMGSZ"),
        *("TRAINING_SAVE_PERIOD", "TRAINING_WORKERS", "EXPORT_ONNX_IMGSZ"),
    ]
    assert len(VARIABLES) == 19
    assert {variable.name: variable.mounted_as for variable in PUBLISHING_SECRETS} == {
        "AZAION_HARDWARE": "hardware",
        "AZAION_HARDWARE_PREFIX": "hardware-prefix",
        "AZAION_HARDWARE_SUFFIX": "hardware-suffix",
        "AZAION_API_KEY_SALT": "api-key-salt",
        "AZAION_MODEL_PHRASE": "model-phrase",
    }


def example() -> dict[str, str]:
    """The example as a shell would read it: it must not need more than that."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Z_]+=[^\s#'\"]*", line) for line in lines)
    names = [line.partition("=")[0] for line in lines]
    assert len(names) == len(set(names))
    return dict(line.split("=", 1) for line in lines)


def test_the_example_has_the_variables_in_order_and_then_the_secrets() -> None:
    assert list(example()) == [variable.name for variable in (*VARIABLES, *PUBLISHING_SECRETS)]


def test_the_example_gives_the_defaults_and_leaves_the_five_secrets_empty() -> None:
    given = example()
    defaults = Config().model_dump()
    for variable in VARIABLES:
        default = defaults[variable.path[0]][variable.path[1]]
        if len(variable.path) > 2:
            default = default[variable.path[2]]
        assert given[variable.name], f"{variable.name} has no development value"
        if not variable.is_secret:
            assert given[variable.name] == str(default)
    assert {given[variable.name] for variable in PUBLISHING_SECRETS} == {""}


def test_the_example_can_be_used_as_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("empty") / "settings.yaml"
    file.write_text(yaml.safe_dump({}))
    config = Config.load(file, example(), secrets=file.parent)
    config.require("api.email", "api.password", "queue.password")


def test_every_variable_of_the_example_has_a_comment() -> None:
    lines = EXAMPLE.read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if "=" in line and not before.startswith("#")
    ]
    assert bare == []
