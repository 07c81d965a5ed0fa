# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How masks store the classes: what is in them, and which value or colour means which class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets.label_table import REST, Code, LabelTable, as_colour, parse_code
from ..errors import ConfigError, DataError

VOID = 255
# More different values than this are no classes.
MANY = 256


# --- What masks hold ------------------------------------------------------------------------------


@dataclass
class Codes:
    """What one mask, or several, hold.

    Attributes:
        values: Stored value -> pixels, of grey and palette masks.
        colours: '#rrggbb' -> pixels, of colour masks.
        kinds: Pixel format and file format -> how many masks.
        palettes: The different palettes of palette masks.
        size_wh: Of one mask.
    """

    values: Counter[Code] = field(default_factory=Counter)
    colours: Counter[Code] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    palettes: set[bytes] = field(default_factory=set)
    size_wh: tuple[int, int] = (0, 0)

    def add(self, other: Codes) -> None:
        """Add those of another mask."""
        self.values += other.values
        self.colours += other.colours
        self.kinds += other.kinds
        self.palettes |= other.palettes

    @property
    def is_colour(self) -> bool:
        """Whether classes can only be told by colours: RGB masks, or palettes that differ."""
        return any("RGB" in kind for kind in self.kinds) or len(self.palettes) > 1

    @property
    def stored(self) -> Counter[Code]:
        """Pixels of each value, or of each colour where only colours tell."""
        return self.colours if self.is_colour else self.values

    @property
    def described(self) -> str:
        """Formats and contents, for people."""
        kinds = ", ".join(f"{kind} ({count})" for kind, count in self.kinds.most_common())
        what = "colours" if self.is_colour else "values"
        return f"{kinds}; {what} {shares(self.stored)}"


def shares(stored: Mapping[Code, int], most: int = 8) -> str:
    """Values with their share of the pixels, in their order."""
    total = sum(stored.values()) or 1
    chosen = sorted(sorted(stored, key=stored.get, reverse=True)[:most], key=_order)
    text = ", ".join(f"{code} ({stored[code] / total:.1%})" for code in chosen)
    return text + (f" and {len(stored) - most} more" if len(stored) > most else "")


def _order(code: Code) -> tuple[bool, Code]:
    return isinstance(code, str), code


def read_codes(path: str) -> Codes:
    """Read one mask.

    Raises:
        DataError: It cannot be decoded.
    """
    codes = Codes()
    try:
        with Image.open(path) as picture:
            picture.load()
            codes.size_wh, mode = picture.size, picture.mode
            codes.kinds[f"{mode} {picture.format}"] += 1
            palette = picture.palette
            if mode == "P" and palette is not None:
                codes.palettes.add(bytes(picture.convert("RGB").getpalette() or palette.palette))
            stored = np.asarray(picture)
            grey = stored.squeeze()
            if mode in ("RGB", "RGBA", "P", "PA", "CMYK") or grey.ndim > 2:
                colours_HW3 = np.asarray(picture.convert("RGB"), np.int64)
            else:
                colours_HW3 = None
    except Exception as error:  # Pillow's decoders raise many types for broken data
        raise DataError(f"mask '{path}' cannot be decoded: {error}") from error
    if mode == "F":
        raise DataError(f"mask '{path}' holds fractions (float): save whole numbers as PNG")
    if colours_HW3 is not None:
        packed = colours_HW3[..., 0] << 16 | colours_HW3[..., 1] << 8 | colours_HW3[..., 2]
        found, counts = np.unique(packed, return_counts=True)
        codes.colours = Counter({f"#{n:06x}": c for n, c in zip(found.tolist(), counts.tolist())})
    if grey.ndim == 2:
        found, counts = np.unique(grey.astype(np.int64), return_counts=True)
        codes.values = Counter(dict(zip(found.tolist(), counts.tolist())))
        if colours_HW3 is None:
            codes.colours = Counter(
                {as_colour(v): c for v, c in codes.values.items() if 0 <= v < 256}
            )
    return codes


# --- What the user says ---------------------------------------------------------------------------


@dataclass
class Wish:
    """Classes as the user gave them.

    Attributes:
        classes: Names in the order of their indices.
        codes: Name -> codes, if the user gave them.
        void: Codes without a label.
    """

    classes: tuple[str, ...]
    codes: dict[str, list[Code]]
    void: tuple[Code, ...] = ()


def parse_classes(text: str, void: str = "") -> Wish:
    """``a,b,c``, ``a=0,b=#ff0000+#00ff00,c=*``, or the name of a file with a class a line.

    A line of a file is a name, alone or with three numbers for its colour, in any order and with any
    punctuation, as in ``label_colors.txt``, ``labelmap.txt`` and ``class_dict.csv``.

    Raises:
        ConfigError: A name is missing or twice there, or only some have codes.
    """
    if Path(text).is_file():
        entries = _read_file(Path(text))
    else:
        entries = [
            tuple(part.strip() for part in entry.partition("=")[::2]) for entry in text.split(",")
        ]
    names = tuple(name for name, _ in entries)
    if not all(names) or len(set(names)) < len(names):
        raise ConfigError(f"--classes {text}: each class needs a name of its own")
    with_codes = {
        name: [parse_code(one, f"--classes {name}") for one in codes.split("+")]
        for name, codes in entries
        if codes
    }
    if with_codes and len(with_codes) < len(names):
        bare = next(name for name in names if name not in with_codes)
        raise ConfigError(
            f"--classes {text}: '{bare}' has no value, give one to each class or to none"
        )
    codes = tuple(parse_code(one, "--void") for one in void.split(",") if one.strip())
    return Wish(names, with_codes, codes)


def _read_file(path: Path) -> list[tuple[str, str]]:
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        numbers = re.findall(r"(?<![\w.])\d+(?![\w.])", line)
        name = re.sub(r"[\s,;:]+", " ", re.sub(r"(?<![\w.])\d+(?![\w.])", " ", line)).strip()
        if not name or line.startswith("#") or name.lower() in ("name r g b", "label color rgb"):
            continue
        is_colour = len(numbers) == 3 and all(int(n) < 256 for n in numbers)
        entries.append((name, "#" + "".join(f"{int(n):02x}" for n in numbers) if is_colour else ""))
    return entries


# --- What means what ------------------------------------------------------------------------------


@dataclass
class Meaning:
    """Which class each stored code means.

    Attributes:
        classes: Names in the order of their indices.
        label_table: For :class:`~mmsemi.datasets.PairListDataset`; None where masks hold the indices.
        void: Further codes of pixels without a label.
        pixels: Labelled pixels of each class.
        notes: What was decided, for people.
    """

    classes: tuple[str, ...]
    label_table: dict[str, Code | list[Code]] | None
    void: tuple[Code, ...]
    pixels: list[int]
    notes: list[str]


def find_meaning(codes: Codes, wish: Wish) -> Meaning:
    """Which class each stored value or colour means.

    What the user says goes first. Without it: indices of the classes (255 is void); as many values as
    classes, in their order, as in masks of 0 and 255; of colours only black and another one, in that
    order. Nothing else is guessed.

    Raises:
        DataError: It cannot be told; the message has the values and an argument to complete.
    """
    stored, notes = codes.stored, []
    wish = _as_stored(wish, codes.is_colour)
    jpeg = [kind for kind in codes.kinds if "JPEG" in kind]
    rest = any(REST in given for given in wish.codes.values())
    if jpeg and len(stored) > len(wish.classes) + 1 and not rest:
        raise DataError(
            f"{codes.kinds[jpeg[0]]} masks are JPEG, which blurs values at edges ({len(stored)} different "
            "ones): export them as PNG (0/255 masks: mogrify -format png -threshold 50% *.jpg)"
        )
    present = [code for code in sorted(stored, key=_order) if code not in wish.void]
    if len(present) < 2:
        raise DataError(
            f"the masks hold one value alone ({shares(stored)}), so there is nothing to tell apart: are "
            "these the right masks, and is another value void (--void)?"
        )
    if len(present) > MANY and not rest:
        raise DataError(
            f"the masks hold {len(present)} different values, which are no classes: numbers of objects? "
            f"Then say which value is background, and all others one class: --classes background=0,{wish.classes[-1]}=*"
        )
    if len(wish.classes) == 1:
        wish = _with_background(wish, present, codes, notes)
    if wish.codes:
        table = dict(wish.codes)
        void = _check_listed(table, present, wish, codes, notes)
    else:
        table, void = _guess(present, wish, codes, notes)
    classes, is_index = wish.classes, False
    if table is None:
        is_index, table = True, {name: [index] for index, name in enumerate(classes)}
        void = (VOID,)
    elif not codes.is_colour and not rest:
        is_index = table == {name: [i] for i, name in enumerate(classes)} and set(void) <= {VOID}
    labels = LabelTable(table, classes, void)
    pixels = [0] * len(classes)
    for code, count in stored.items():
        label = labels.label_of.get(code, labels.rest)
        if label < len(classes):
            pixels[label] += count
    simple = {name: given[0] if len(given) == 1 else given for name, given in table.items()}
    if is_index:
        return Meaning(classes, None, (), pixels, notes)
    return Meaning(classes, simple, tuple(void), pixels, notes)


def _as_stored(wish: Wish, is_colour: bool) -> Wish:
    given = [code for codes in wish.codes.values() for code in codes] + list(wish.void)
    if is_colour:
        codes = {name: [as_colour(code) for code in some] for name, some in wish.codes.items()}
        return Wish(wish.classes, codes, tuple(as_colour(code) for code in wish.void))
    wrong = next((code for code in given if str(code).startswith("#")), None)
    if wrong is not None:
        raise ConfigError(
            f"{wrong} is a colour, and the masks hold values (one channel, or a palette's indices): give "
            "values, such as --classes background=0,object=255"
        )
    return wish


def _with_background(wish: Wish, present: list[Code], codes: Codes, notes: list[str]) -> Wish:
    """Two classes where the user names one."""
    (name,) = wish.classes
    own = wish.codes.get(name)
    others = [code for code in present if not own or code not in own]
    if not own:
        others = others[:1]
        own = [code for code in present if code not in others]
    if len(present) != 2 and REST not in own and len(others) != 1:
        raise DataError(
            f"one class, '{name}', and masks of several values: {shares(codes.stored)}. Name all classes, "
            f"or say which value is background: --classes background={others[0]},{name}=*"
        )
    if len(present) != 2 and not wish.codes:
        raise DataError(
            f"one class, '{name}', and masks of several values: {shares(codes.stored)}. Name all classes, "
            f"or call the others one: --classes background={present[0]},{name}=*"
        )
    notes.append(f"one class is named: 'background' is added before it, for {others[0]}")
    return Wish(("background", name), {"background": [others[0]], name: own}, wish.void)


def _check_listed(
    table: dict[str, list[Code]],
    present: list[Code],
    wish: Wish,
    codes: Codes,
    notes: list[str],
) -> tuple[Code, ...]:
    """Refuse values that the user has not listed; returns the void ones."""
    listed = {code for given in table.values() for code in given}
    others = [code for code in present if code not in listed]
    if REST in listed or not others:
        return wish.void
    if others == [VOID] and not codes.is_colour:
        notes.append("255 is in no class: it is void (no label)")
        return (*wish.void, VOID)
    some = {code: codes.stored[code] for code in others}
    raise DataError(
        f"the masks hold {shares(some)}, which --classes does not list: give them to a class (name=1+2), or "
        f"say --void {','.join(map(str, others[:8]))}"
    )


def _guess(
    present: list[Code], wish: Wish, codes: Codes, notes: list[str]
) -> tuple[dict[str, list[Code]] | None, tuple[Code, ...]]:
    """Table and void values by the rules of :func:`find_meaning`; no table for indices."""
    classes, count = wish.classes, len(wish.classes)
    if codes.is_colour:
        if len(present) == count == 2 and present[0] == "#000000":
            return _in_order(classes, present, notes), wish.void
        raise DataError(
            f"the masks hold colours: {shares(codes.stored, 24)}. Say which is which: --classes "
            f"'{_template(classes, present)}'"
        )
    inner = [code for code in present if code != VOID]
    is_index = inner[-1] < count and len(inner) > 1
    if is_index and not wish.void:
        if VOID in present:
            notes.append("masks hold class indices, 255 is void (no label)")
        return None, ()
    if len(present) == count:
        return _in_order(classes, present, notes), wish.void
    if is_index:
        return {name: [index] for index, name in enumerate(classes)}, (
            *wish.void,
            *([VOID] if VOID in present else []),
        )
    if len(inner) == count and VOID in present:
        notes.append("255 is void (no label)")
        return _in_order(classes, inner, notes), (*wish.void, VOID)
    raise DataError(
        f"the masks hold {len(present)} values, {shares(codes.stored, 24)}, and there are {count} classes: "
        f"name all of them, say which value is void (--void {present[0]}), or which is which: --classes "
        f"'{_template(classes, present)}'"
    )


def _in_order(
    classes: Sequence[str], present: Sequence[Code], notes: list[str]
) -> dict[str, list[Code]]:
    text = ", ".join(f"{code} is '{name}'" for name, code in zip(classes, present))
    notes.append(f"as many values as classes, in their order: {text}")
    return {name: [code] for name, code in zip(classes, present)}


def _template(classes: Sequence[str], present: Sequence[Code]) -> str:
    """An argument to complete: every class with a value that is there."""
    given = [*present, *["?"] * len(classes)]
    return ",".join(f"{name}={code}" for name, code in zip(classes, given))
