# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Image-level class scores on disk: what a classifier believes about each image of a set.

Rows belong to image ids, not to positions in a list: a filtered or shuffled list then moves no row
to another image. The text form of the reference (semisup-semseg, ``mlmt_output``), which has no ids,
is read and written with the list that it goes by.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.splits import canonical_id
from ..errors import ConfigError, DataError
from ..utils.files import write_beside

_Rows = Iterable[tuple[str, Any]]


def image_id(img_path: str) -> str:
    """The name under which a table holds an image: the one that the hashes of splits go by.

    >>> image_id('data/voc/JPEGImages/2007_000033.jpg')
    '2007_000033'
    """
    return canonical_id(img_path)


@dataclass
class ScoreTable:
    """Scores of every class for every image of a set.

    Attributes:
        classes: Class names in the order of the data set (so a background comes first).
        scores: Image id -> (C,) float32 in [0, 1].
        network: Which network gave the scores: 'teacher', 'student', '' if unknown.
        split: ``split_info`` of the training that made the network (name, counts, hashes), ``None``
            if unknown.

    Raises:
        DataError: A row has another number of scores than there are classes, or a score outside
            [0, 1]; a class name occurs twice; there is no row.
    """

    classes: tuple[str, ...]
    scores: dict[str, np.ndarray]
    network: str = ""
    split: dict | None = None

    def __post_init__(self) -> None:
        self.classes = tuple(self.classes)
        self.scores = _checked(self.classes, self.scores.items(), "the score table")

    def save(self, path: str | PathLike) -> None:
        """Write ``.npz`` or ``.json``, by the suffix; complete or not at all.

        Raises:
            ConfigError: Another suffix.
        """
        path, kind = _path(path)
        if kind == ".json":
            # str() of a float32 is the shortest text that reads back as the same number.
            rows = {name: [float(str(v)) for v in row] for name, row in self.scores.items()}
            content = dict(classes=self.classes, network=self.network, split=self.split)
            text = json.dumps({**content, "scores": rows}, ensure_ascii=False)
            write_beside(path, lambda file: file.write(text.encode()))
            return
        arrays = dict(
            classes=np.array(self.classes),
            ids=np.array(list(self.scores)),
            scores=np.stack(list(self.scores.values())),
            network=np.array(self.network),
            split=np.array(json.dumps(self.split)),
        )
        write_beside(path, lambda file: np.savez_compressed(file, **arrays))

    @classmethod
    def load(cls, path: str | PathLike) -> ScoreTable:
        """Read what :meth:`save` wrote; nothing in the file is executed.

        Raises:
            DataError: There is no such file, or it is no score table, or a damaged one.
        """
        path, kind = _path(path)
        if not path.is_file():
            raise DataError(f"there is no score table '{path}'")
        read = _read_json if kind == ".json" else _read_npz
        try:
            classes, rows, network, split = read(path)
        except Exception as error:  # a damaged archive may raise almost anything
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise DataError(
                f"'{path}' is no score table ({reason or type(error).__name__}): write it again "
                "with ImageLevelMetric(out_file=...)"
            ) from None
        where = f"score table '{path}'"
        if not isinstance(network, str) or not isinstance(split, (dict, type(None))):
            raise DataError(f"{where}: 'network' must be a name and 'split' a dictionary or null")
        return cls(classes, _checked(classes, rows, where), network, split)

    def save_text(self, path: str | PathLike, ids: Sequence[str]) -> None:
        """Write the reference's text form: a row an image, in the order of ``ids``, 6 decimals.

        Args:
            path: The file.
            ids: Ids or image paths, in the order of the list that will be read with the file.

        Raises:
            DataError: An image has no row.
        """
        lines = []
        for name in map(image_id, ids):
            if name not in self.scores:
                raise DataError(f"'{path}' cannot be written: the score table has no row '{name}'")
            lines.append(" ".join(f"{value:.6f}" for value in self.scores[name]) + "\n")
        write_beside(path, lambda file: file.write("".join(lines).encode()))

    @classmethod
    def load_text(
        cls, path: str | PathLike, ids: Sequence[str], classes: Sequence[str]
    ) -> ScoreTable:
        """Read the reference's text form.

        Args:
            path: The file.
            ids: Ids or image paths in the order of its rows.
            classes: Class names in the order of its columns.

        Raises:
            DataError: There is no such file, it does not fit ``ids`` and ``classes``, or holds something
                else than scores.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise DataError(f"there is no score file '{path}'")
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            raise DataError(f"score file '{path}' is no text") from None
        rows = [_numbers(line, f"score file '{path}' line {i}") for i, line in enumerate(lines, 1)]
        if len(rows) != len(ids):
            raise DataError(
                f"score file '{path}' has {len(rows)} rows, the list has {len(ids)} images: give "
                "the list that the file was written with"
            )
        names = [image_id(name) for name in ids]
        return cls(classes, _checked(classes, zip(names, rows), f"score file '{path}'"))


def _numbers(line: str, where: str) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        raise DataError(f"{where} holds no numbers") from None


def _path(path: str | PathLike) -> tuple[Path, str]:
    path = Path(path).expanduser()
    if path.suffix not in (".npz", ".json"):
        raise ConfigError(f"score table '{path}' must end in .npz or .json")
    return path, path.suffix


def _read_npz(path: Path) -> tuple[tuple[str, ...], _Rows, str, Any]:
    with np.load(path, allow_pickle=False) as file:
        if isinstance(file, np.ndarray):  # one array, whatever its suffix says
            raise ValueError("one array without names")
        classes, ids, scores = file["classes"], file["ids"], file["scores"]
        network, split = str(file["network"]), json.loads(str(file["split"]))
    if classes.dtype.kind != "U" or ids.dtype.kind != "U" or classes.ndim != 1 or ids.ndim != 1:
        raise ValueError("'classes' and 'ids' must be lists of names")
    if scores.ndim != 2 or len(scores) != len(ids):
        raise ValueError(f"{len(ids)} ids, but scores of shape {scores.shape}")
    return tuple(classes.tolist()), zip(ids.tolist(), scores), network, split


def _read_json(path: Path) -> tuple[tuple[str, ...], _Rows, str, Any]:
    def refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise ValueError(f"'{twice}' occurs twice")
        return content

    content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=refuse_twice)
    classes = content["classes"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("'classes' must be a list of names")
    return tuple(classes), content["scores"].items(), content["network"], content["split"]


def _checked(classes: Sequence[str], rows: _Rows, where: str) -> dict[str, np.ndarray]:
    """The rows by id as float32; every mistake is an error with the image's name."""
    if len(set(classes)) < len(classes) or not classes:
        raise DataError(f"{where} must name each class once, its classes are {tuple(classes)}")
    scores: dict[str, np.ndarray] = {}
    for name, values in rows:
        if name in scores:
            raise DataError(
                f"{where} has two rows for image '{name}': base names without suffix must be unique"
            )
        try:
            row = np.asarray(values, dtype=np.float32)
        except (ValueError, TypeError):
            raise DataError(f"{where}: the row of image '{name}' holds no numbers") from None
        if row.shape != (len(classes),):
            raise DataError(
                f"{where}: the row of image '{name}' has shape {row.shape}, there are "
                f"{len(classes)} classes"
            )
        wrong = ~((row >= 0) & (row <= 1))  # also where it is NaN
        if wrong.any():
            column = int(wrong.argmax())
            raise DataError(
                f"{where}: image '{name}', class '{classes[column]}' has the score "
                f"{float(row[column])}, scores are probabilities between 0 and 1 (sigmoid)"
            )
        scores[name] = row
    if not scores:
        raise DataError(f"{where} has no row")
    return scores
