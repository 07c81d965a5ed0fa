# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The settings of a method: one frozen dataclass, checked when the model is built.

A field says all there is to know about a setting: type, default, meaning and range. The tables in
``configs/<method>/README.md`` are made from it.
"""

from __future__ import annotations

import math
import types
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..errors import ConfigError
from ..utils import close_matches


def setting(
    default: Any,
    doc: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    choices: Collection[Any] = (),
) -> Any:
    """A documented field of :class:`MethodSettings`.

    Args:
        default: Value where a config gives none.
        doc: What it is, for people.
        low: Least legal number.
        high: Largest legal number.
        choices: All legal values, if they are few.
    """
    metadata = dict(doc=doc, low=low, high=high, choices=tuple(choices))
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class MethodSettings:
    """What every method has; its own settings are the fields of a subclass.

    Raises:
        ConfigError: A value is of another type, out of its range or none of the choices.
    """

    predict_on: str | int | None = setting(
        None, "the network that predicts; None: the teacher where there is one, else the student"
    )
    backbone_norm_eval: bool = setting(
        False,
        "keep the batch norms of every backbone in eval mode: they normalise by the statistics of its "
        "weight file, which no batch changes; scale and shift are trained (docs/batch_norm.md)",
    )
    frozen_encoder: bool = setting(
        False,
        "do not train any backbone: it keeps the weights that it was given, in eval mode, has no part in "
        "the optimiser, and maps each view once (docs/encoders.md)",
    )
    class_weight_power: float = setting(
        0.0,
        "p: labelled pixels of class c, a share f_c of them so far, count f_c^-p / sum_k f_k^(1-p), 1 on average; "
        "0: all alike, 0.5: inverse square root of the frequency, 1: every class alike",
        low=0,
        high=1,
    )

    @classmethod
    def read(cls, method: str, values: dict[str, Any]) -> MethodSettings:
        """The settings in a model's config.

        Raises:
            ConfigError: A name is unknown; the message names those that resemble it.
        """
        known = [item.name for item in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"{method} has no setting '{name}'{close_matches(name, known)} "
                    f"(known: {', '.join(known)})"
                )
        return cls(**values)

    @property
    def _method(self) -> str:
        return type(self).__name__.removesuffix("Settings")

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value, rule = getattr(self, item.name), item.metadata
            name = f"{self._method}.{item.name}={value!r}"
            if rule["choices"] and value not in rule["choices"]:
                raise ConfigError(f"{name} is none of {', '.join(map(repr, rule['choices']))}")
            if not _is_of_type(value, hints[item.name]):
                raise ConfigError(f"{name} must be {_type_name(hints[item.name])}")
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if is_number and not (math.isfinite(value) and rule["low"] <= value <= rule["high"]):
                low, high = rule["low"], rule["high"]
                legal = f"at least {low:g}" if high == math.inf else f"in [{low:g}, {high:g}]"
                raise ConfigError(
                    f"{name} must be a finite number {legal if low > -math.inf else ''}"
                )
        if self.frozen_encoder:
            self.refuse_unused(
                "backbone_norm_eval", reason="all of a frozen encoder is in eval mode"
            )

    def refuse(self, name: str, reason: str) -> None:
        """Refuse the value of one setting.

        Raises:
            ConfigError: Always.
        """
        value = getattr(self, name)
        shown = f"dict(type={value.get('type')!r}, ...)" if isinstance(value, dict) else repr(value)
        raise ConfigError(f"{self._method}.{name}={shown}: {reason}")

    def refuse_unused(self, *names: str, reason: str) -> None:
        """Refuse settings that are given another value than their default although nothing reads them.

        Raises:
            ConfigError: One of them is.
        """
        for item in fields(self):
            if item.name in names and getattr(self, item.name) != item.default:
                self.refuse(item.name, f"it is not used, {reason}")


@dataclass(frozen=True)
class ViewSettings(MethodSettings):
    """Settings of a method that shows its student another view of unlabelled images."""

    strong: dict | None = setting(
        None, "photometric operation of the student's view, e.g. `dict(type='StrongPhotometric')`"
    )
    strong_view_stats: bool = setting(
        True,
        "the student's views of unlabelled images move the running statistics of its batch norms, as "
        "published; False: they are normalised by their own, which are then forgotten "
        "(docs/batch_norm.md)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.strong_view_stats or self.strong or getattr(self, "mix", None)):
            self.refuse("strong_view_stats", "without strong and mix there is no other view")

    def refuse_shared_forward(self, name: str, fix: str) -> None:
        """Refuse ``strong_view_stats=False`` where labelled images share the forward of strong views.

        Args:
            name: The setting by which they share it.
            fix: Its value by which they do not.

        Raises:
            ConfigError: The statistics of the views shall be forgotten.
        """
        if not self.strong_view_stats:
            self.refuse(
                "strong_view_stats",
                f"with {name}={getattr(self, name)!r} the labelled images share the forward of the "
                f"strong views, and so their statistics: set {name}={fix}",
            )


@dataclass(frozen=True)
class MixSettings(ViewSettings):
    """Settings of a method that also mixes its views.

    Raises:
        ConfigError: There are several views of an image (``num_views``) that nothing makes different.
    """

    mix: dict | None = setting(None, "how views are mixed, e.g. `dict(type='CutMix')`")

    def __post_init__(self) -> None:
        super().__post_init__()
        if getattr(self, "num_views", 1) > 1 and self.strong is None and self.mix is None:
            self.refuse("num_views", "all views would be equal: set strong or mix, or num_views=1")


@dataclass(frozen=True)
class ThresholdSettings(MixSettings):
    """Settings of a method that keeps the pseudo-labels of at least ``threshold``."""

    class_thresholds: bool = setting(
        False,
        "the threshold of a class is `threshold` times its mean confidence over that of the surest class "
        "(FreeMatch's normalisation), so that classes which a network is less sure of are kept, too",
    )
    class_threshold_decay: float = setting(
        0.99,
        "weight of the old value in the average of these confidences over the steps",
        low=0,
        high=0.9999,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.class_thresholds:
            self.refuse_unused("class_threshold_decay", reason="without class_thresholds")


@dataclass(frozen=True)
class BatchTeacherSettings(MethodSettings):
    """Settings of a method whose teacher may take batch statistics, see :class:`EMATeacher`."""

    momentum: float = setting(
        0.01, "weight of the new value in the teacher's average, 1 - decay", low=0, high=1
    )
    teacher_mode: str = setting(
        "train", "batch statistics for the teacher, or `'eval'`", choices=("train", "eval")
    )
    buffers: str = setting(
        "keep",
        "the teacher's batch-norm statistics are its own, or the student's (`'copy'`), or an average "
        "(`'ema'`)",
        choices=("keep", "copy", "ema"),
    )


def _parts(hint: Any) -> tuple[Any, ...]:
    is_union = get_origin(hint) in (Union, types.UnionType)
    return get_args(hint) if is_union else (hint,)


def _is_of_type(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; an int is a float, a bool is no number."""
    for part in _parts(hint):
        if part is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return True
        if part is int and isinstance(value, bool):
            continue
        if isinstance(value, get_origin(part) or part):
            return True
    return False


def _type_name(hint: Any) -> str:
    names = {float: "a number", int: "a whole number", bool: "True or False", str: "a text"}
    names |= {dict: "a config", type(None): "None"}
    return " or ".join(names.get(get_origin(p) or p, str(p)) for p in _parts(hint))
