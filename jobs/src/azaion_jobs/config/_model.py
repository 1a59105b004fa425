"""The shape of config.yaml: every setting, its default and what it must be."""

from pathlib import PurePosixPath
from typing import Annotated, Literal, NoReturn, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from azaion_jobs.tree import FIXED_NAMES, is_single_part

SIZE_STEP = 32
HIGHEST_PORT = 65535
PERCENT = 100


def _refuse(rule: str, sentence_end: str) -> NoReturn:
    # Pydantic fills in braces, so a text must bring none of its own.
    raise PydanticCustomError(rule, sentence_end)


def _multiple_of_step(size: int) -> int:
    if size % SIZE_STEP:
        _refuse("multiple", "must be a multiple of 32, such as 640 or 1280")
    return size


def _single_part(name: str) -> str:
    if not is_single_part(name) or name != name.strip():
        _refuse("single_part", "must be one plain name without a slash")
    return name


def _single_part_or_empty(name: str) -> str:
    return _single_part(name) if name else name


def _absolute(path: str) -> str:
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or not path.isprintable():
        _refuse("absolute", "must be an absolute path without '..'")
    return str(pure)


def _absolute_or_empty(path: str) -> str:
    return _absolute(path) if path else path


def _root(path: str) -> str:
    path = _absolute(path)
    if not path.strip("/"):
        _refuse("root", "must not be the root of the file system; give a folder of its own, such as /azaion")
    return path


def _one_word(text: str) -> str:
    if not text or not text.isprintable() or any(character.isspace() for character in text):
        _refuse("word", "must be one word without blanks")
    return text


def _host(text: str) -> str:
    text = _one_word(text)
    if "/" in text or "@" in text:
        _refuse("host", "must be a host name or an address alone, without scheme, user or path")
    return text


def _web_address(text: str) -> str:
    try:
        parts = urlsplit(_one_word(text))
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        # Reading the port raises if it is no port.
        usable = usable and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable or "?" in text or "#" in text:
        _refuse(
            "web_address",
            "must be an address such as https://api.example.com, without user, password, query or fragment",
        )
    return text.rstrip("/")


def _empty_is_absent(secret: object) -> object:
    return None if secret == "" else secret


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        _refuse("distinct", "must not name the same resource twice")
    return names


Secret = Annotated[SecretStr | None, BeforeValidator(_empty_is_absent)]
ImageSize = Annotated[int, Field(gt=0), AfterValidator(_multiple_of_step)]
Name = Annotated[str, AfterValidator(_single_part)]
NameOrEmpty = Annotated[str, AfterValidator(_single_part_or_empty)]
Word = Annotated[str, AfterValidator(_one_word)]
Positive = Annotated[int, Field(gt=0)]
PositiveReal = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Threshold = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """What all parts of the configuration have in common: frozen, closed, strict, camelCase in YAML."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        validate_default=True,
        hide_input_in_errors=True,
    )


class Api(Section):
    """The REST API that models are published to."""

    url: Annotated[str, AfterValidator(_web_address)] = "https://api.azaion.com"
    email: Secret = None
    password: Secret = None
    timeout_seconds: PositiveReal = 60
    ca_file: Annotated[str, AfterValidator(_absolute_or_empty)] = ""
    cdn_folder: NameOrEmpty = ""


class Queue(Section):
    """The RabbitMQ stream that annotations arrive on."""

    host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    port: Annotated[int, Field(gt=0, le=HIGHEST_PORT)] = 5552
    username: Word = "azaion_receiver"
    password: Secret = None
    name: Word = "azaion-annotations"
    tls: bool = False
    start: Literal["first", "next", "refuse"] = "first"
    group_messages: Positive = 100
    group_seconds: PositiveReal = 1
    max_message_bytes: Positive = 64 * 1024 * 1024


class Directories(Section):
    """Where the tree lies and how its three annotation folders are called."""

    root: Annotated[str, AfterValidator(_root)] = "/azaion"
    data: Name = "data"
    data_seed: Name = "data-seed"
    data_deleted: Name = "data_deleted"

    @field_validator("data", "data_seed", "data_deleted")
    @classmethod
    def _of_its_own(cls, name: str, info: ValidationInfo) -> str:
        # A field at a time, so that a clash is reported even where another directory is wrong as well.
        if name.startswith("."):
            _refuse("dot", "must not start with a dot, because readers of the tree skip such names")
        if name in FIXED_NAMES:
            _refuse("taken", "must not be a name that the tree uses for something else")
        earlier = [to_camel(field) for field, other in info.data.items() if field != "root" and other == name]
        if earlier:
            _refuse("same", f"must differ from directories.{earlier[0]}")
        return name


class Split(Section):
    """How a dataset is divided, in percent."""

    train: Annotated[int, Field(gt=0, le=PERCENT)] = 70
    valid: Annotated[int, Field(gt=0, le=PERCENT)] = 20
    test: Annotated[int, Field(ge=0, le=PERCENT)] = 10

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.train + self.valid + self.test != PERCENT:
            _refuse("percent", "must add up to 100 percent")
        return self


class Training(Section):
    """Defaults of a training run."""

    model: Name = "yolo26m.pt"
    epochs: Positive = 120
    batch_size: Positive = 11
    image_size: ImageSize = 1280
    save_period: Positive = 1
    workers: Positive = 24
    seed: Seed = 0
    keep_checkpoints: Positive = 3
    allow_model_download: bool = True
    split: Split = Split()
    augment: bool = False


class Onnx(Section):
    """The export for inference."""

    enabled: bool = True
    image_size: ImageSize = 1280
    batch_max: Positive = 8
    confidence: Threshold = 0.25
    iou: Threshold = 0.7


class Export(Section):
    """What is exported, what a model must reach, and where it is published."""

    onnx: Onnx = Onnx()
    min_map: Fraction = 0
    max_map_drop: Fraction = 0.02
    folder: Name = "models"
    # YAML has lists, a frozen setting wants a tuple: the one place that is not strict.
    resources: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), AfterValidator(_distinct)] = (
        "azaion.onnx",
    )
