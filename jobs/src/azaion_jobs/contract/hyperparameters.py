"""Which hyperparameters a run may set, and to what.

Everything that ultralytics knows beyond these names is refused: `save`, `val`, `time`, `fraction`, `classes`,
`single_cls`, `resume` and the like would break what this software promises about a run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from azaion_jobs.contract.documents import Bounds, DocumentError, Scalar, number_in


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one hyperparameter may be: a number within bounds, one of some words, or true and false."""

    bounds: Bounds | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()
    flag: bool = False


def _real(least: float, most: float = 1e6) -> _Rule:
    return _Rule(Bounds(least, most))


def _whole(least: int, most: int = 1_000_000) -> _Rule:
    return _Rule(Bounds(least, most), whole=True)


_FRACTION: Final = _real(0, 1)

ALLOWED: Final[Mapping[str, _Rule]] = MappingProxyType(
    {
        "optimizer": _Rule(
            choices=("SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp", "auto")
        ),
        "lr0": _real(0, 10),
        "lrf": _FRACTION,
        "momentum": _FRACTION,
        "weight_decay": _FRACTION,
        "warmup_epochs": _real(0),
        "warmup_momentum": _FRACTION,
        "warmup_bias_lr": _FRACTION,
        "cos_lr": _Rule(flag=True),
        "box": _real(0),
        "cls": _real(0),
        "cls_pw": _FRACTION,
        "dfl": _real(0),
        "nbs": _whole(1),
        "hsv_h": _FRACTION,
        "hsv_s": _FRACTION,
        "hsv_v": _FRACTION,
        "degrees": _real(0, 180),
        "translate": _FRACTION,
        "scale": _FRACTION,
        "shear": _real(0, 180),
        "perspective": _real(0, 0.001),
        "flipud": _FRACTION,
        "fliplr": _FRACTION,
        "bgr": _FRACTION,
        "mosaic": _FRACTION,
        "mixup": _FRACTION,
        "cutmix": _FRACTION,
        "close_mosaic": _whole(0),
        "multi_scale": _FRACTION,
        "freeze": _whole(0),
        "amp": _Rule(flag=True, choices=("fp16", "bf16", "fp32")),
        "patience": _whole(0),
    }
)


def check(hyperparameters: Mapping[str, Scalar], *, where: str = "hyperparameters") -> None:
    """Raise DocumentError for the first one that is not allowed or has a wrong value."""
    for name, value in hyperparameters.items():
        rule = ALLOWED.get(name)
        if rule is None:
            msg = f"{where}.{name} cannot be set; what can be set is {', '.join(sorted(ALLOWED))}."
            raise DocumentError(msg)
        if rule.bounds is not None:
            number_in(value, rule.bounds, f"{where}.{name}", whole=rule.whole)
        elif not ((rule.flag and isinstance(value, bool)) or value in rule.choices):
            words = (*(("true", "false") if rule.flag else ()), *rule.choices)
            msg = f"{where}.{name} must be one of {', '.join(words)}."
            raise DocumentError(msg)
