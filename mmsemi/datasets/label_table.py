# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Masks that hold other values than class indices: 0 and 255, grey levels, 16-bit numbers, colours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ConfigError, DataError, close_matches

#: How a mask may store a class: a value, a colour '#rrggbb', or '*', every value that no other class has.
Code = int | str
REST = "*"
#: Label of what a table does not list; refused when a mask has it.
UNLISTED = 254
_COLOUR = re.compile(r"#[0-9a-f]{6}")


def parse_code(code: object, where: str) -> Code:
    """A value, a colour in lower case, or ``'*'``.

    Raises:
        ConfigError: It is none of them.
    """
    text = str(code).strip().lower()
    if text.isdigit() and int(text) < 65536 and not isinstance(code, bool):
        return int(text)
    if text == REST or _COLOUR.fullmatch(text):
        return text
    raise ConfigError(
        f"{where}={code!r} must be a value of the masks (0 to 65535), a colour '#rrggbb', or '*' for every "
        "value that no other class has"
    )


def as_colour(code: Code) -> str:
    """A grey value as a colour; colours and ``'*'`` as they are.

    Raises:
        ConfigError: The value has more than 8 bits.
    """
    if not isinstance(code, int):
        return code
    if code > 255:
        raise ConfigError(f"label_table has colours and the 16-bit value {code}: masks have either")
    return f"#{code:02x}{code:02x}{code:02x}"


class LabelTable:
    """Stored values or colours -> class indices.

    Args:
        codes: Name of each class -> how the masks store it (see :data:`Code`), or several ways.
        classes: The classes in the order of their indices.
        void: Values or colours without a label.
        ignore_index: What they become.

    Attributes:
        is_colour: Masks are read as colours.
        label_of: Code -> label.
        rest: Label of every other value; :data:`UNLISTED` if they are refused.

    Raises:
        ConfigError: A class is missing, unknown, or shares a code with another one.
    """

    def __init__(
        self,
        codes: Mapping[str, Code | Sequence[Code]],
        classes: Sequence[str],
        void: Sequence[Code] = (),
        ignore_index: int = 255,
    ) -> None:
        for name in codes:
            if name not in classes:
                raise ConfigError(
                    f"label_table has '{name}', which is no class{close_matches(name, classes)}"
                )
        missing = [name for name in classes if name not in codes]
        if missing:
            raise ConfigError(f"label_table lacks the classes {', '.join(missing)}")
        if len(classes) > UNLISTED:
            raise ConfigError(f"label_table is for at most {UNLISTED} classes, not {len(classes)}")
        given: list[tuple[Code, int]] = []
        for index, name in enumerate(classes):
            several = codes[name] if isinstance(codes[name], (list, tuple)) else [codes[name]]
            given += [(parse_code(code, f"label_table.{name}"), index) for code in several]
        given += [(parse_code(code, "void"), ignore_index) for code in void]
        self.is_colour = any(str(code).startswith("#") for code, _ in given)
        if self.is_colour:
            given = [(as_colour(code), label) for code, label in given]
        self.label_of: dict[Code, int] = {}
        for code, label in given:
            if self.label_of.setdefault(code, label) != label:
                raise ConfigError(f"label_table has {code} for two classes")
        self.rest = self.label_of.pop(REST, UNLISTED)
        self._keys = np.array(sorted(map(_number, self.label_of)), np.int64)
        by_number = {_number(code): label for code, label in self.label_of.items()}
        self._labels = np.array([by_number[key] for key in self._keys.tolist()], np.uint8)

    def apply(self, stored: np.ndarray, described: str) -> np.ndarray:
        """Labels (H, W) uint8 of stored values (H, W), or of colours (H, W, 3) RGB.

        Args:
            stored: As decoded.
            described: The file, for the message.

        Raises:
            DataError: It holds a value that the table does not list.
        """
        numbers_HW = stored.astype(np.int64)
        if self.is_colour:
            numbers_HW = numbers_HW[..., 0] << 16 | numbers_HW[..., 1] << 8 | numbers_HW[..., 2]
        places = np.searchsorted(self._keys, numbers_HW).clip(max=len(self._keys) - 1)
        known = self._keys[places] == numbers_HW
        if self.rest == UNLISTED and not known.all():
            others = np.unique(numbers_HW[~known])[:8].tolist()
            names = ", ".join(f"#{n:06x}" if self.is_colour else str(n) for n in others)
            raise DataError(
                f"{described} has {'the colours' if self.is_colour else 'the values'} {names}, which "
                "label_table does not list: add them to a class or to void"
            )
        return np.where(known, self._labels[places], np.uint8(self.rest))

    def map_of_values(self) -> dict[int, int] | None:
        """Label of each value 0 to 255, the form of mmseg's ``label_map``; None for other masks."""
        if self.is_colour or any(code > 255 for code in self.label_of):
            return None
        return {value: self.label_of.get(value, self.rest) for value in range(256)}


def _number(code: Code) -> int:
    return code if isinstance(code, int) else int(code[1:], 16)
