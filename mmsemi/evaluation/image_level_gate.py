# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Fusion of a segmentation with image-level scores: classes judged absent cannot win a pixel.

The low-level branch (s4GAN, or any segmentor) and the high-level branch (MLMT) of Mittal et al.,
"Semi-Supervised Semantic Segmentation With High- and Low-Level Consistency", TPAMI 2021, are trained
apart and meet here, at test time.

Decision: a gated class gets the logit -inf. The released code multiplies the logits by the gate, and
a 0 beats the negative logits of present classes. With -inf the arg max is that of softmax times gate,
which is what the paper means, and it neither underflows nor cares whether a model's ``seg_logits``
are logits or probabilities.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import MessageHub, print_log
from torch import Tensor

from ..errors import ConfigError, DataError
from ..utils import check_keys, close_matches
from ..utils.config_files import default_work_dir
from .predictions import class_scores
from .score_table import ScoreTable, image_id

_DEFAULTS = dict(
    scores=None,
    threshold=0.2,
    background="background",
    missing="error",
    check_split=True,
    classifier=None,
)


def gated_labels(logits_CHW: Tensor, keep_C: Tensor) -> Tensor:
    """Arg max over the classes that are kept; over all of them if none is.

    Args:
        logits_CHW: Scores of one image, any monotonic form (logits, log-probabilities, ...).
        keep_C: Bool, which classes may win.

    Returns:
        (H, W) int64 class indices.
    """
    keep_C = keep_C | ~keep_C.any()
    return logits_CHW.masked_fill(~keep_C[:, None, None], -torch.inf).argmax(0)


class ImageLevelGate:
    """Which classes may occur in an image, by a classifier's scores.

    Args:
        scores: Path of a :class:`ScoreTable`, relative to the working directory; of a folder, such as
            the classifier's work dir, its ``scores.npz``. ``None``: the work dir that ``mmsemi train``
            gives to ``classifier``.
        threshold: A class is kept where its score is at least this.
        background: Name or index of the class that is never gated off, ``None`` for no such class.
            The default is the class 'background' of data sets that have one.
        missing: What to do with an image that the table lacks: 'error', or 'keep' its prediction.
        check_split: Whether classifier and segmentor must have been trained on the same labels.
        classifier: Config of the classifier, e.g. ``'configs/mlmt/voc_1-8.py'``.

    Raises:
        DataError: There is no such table, or it is damaged.
        ConfigError: An argument is out of range, or neither ``scores`` nor ``classifier`` is given.
    """

    def __init__(
        self,
        scores: str | None = None,
        threshold: float = 0.2,
        background: str | int | None = "background",
        missing: str = "error",
        check_split: bool = True,
        classifier: str | None = None,
    ) -> None:
        if not (scores or classifier):
            raise ConfigError(
                "gate.scores must name the file of a score table (.npz or .json), or its folder"
            )
        if not (isinstance(threshold, (int, float)) and 0 <= threshold <= 1):
            raise ConfigError(f"gate.threshold={threshold!r} must be a number from 0 to 1")
        if missing not in ("error", "keep"):
            raise ConfigError(f"gate.missing={missing!r} is none of 'error', 'keep'")
        self.background, self.missing, self.check_split = background, missing, check_split
        path = Path(scores or default_work_dir(classifier)).expanduser()
        if path.is_dir() or path.suffix not in (".npz", ".json"):
            path = path / "scores.npz"
        self.path, self.threshold = str(path), threshold
        if not path.exists():
            config = classifier or "mlmt/<config>"
            raise DataError(
                f"there is no score table '{path}': `mmsemi train {config}` writes it, from a "
                f"checkpoint `mmsemi test {config} <checkpoint>`; if it lies elsewhere, name its file or "
                "folder in gate.scores (--cfg-options gate.scores=PATH)"
            )
        self.table = ScoreTable.load(path)
        self._classes: tuple[str, ...] = ()
        self._split: Mapping | None = None
        self._background: int | None = None

    @classmethod
    def build(cls, config: dict) -> ImageLevelGate:
        """The gate of a metric's ``gate=dict(scores=..., ...)``; an unknown key is an error."""
        return cls(**check_keys(config, _DEFAULTS, "gate"))

    def apply(self, samples: Sequence[Mapping], classes: Sequence[str]) -> list[dict]:
        """Samples with gated predictions; the given ones, which other metrics read, stay as they are.

        Args:
            samples: Predicted samples as metrics get them.
            classes: Class names of the data set.

        Raises:
            DataError: The table does not fit the data set or the segmentor, or lacks an image.
        """
        self._check(tuple(classes))
        gated = []
        for sample in samples:
            logits_CHW = class_scores(sample, classes, "the image-level gate")
            labels_HW = gated_labels(
                logits_CHW, self.keep(sample["img_path"]).to(logits_CHW.device)
            )
            gated.append({**sample, "pred_sem_seg": {"data": labels_HW[None]}})
        return gated

    def keep(self, img_path: str) -> Tensor:
        """(C,) bool on the CPU: which classes may occur in an image."""
        row = self.table.scores.get(image_id(img_path))
        if row is None and self.missing == "error":
            raise DataError(
                f"score table '{self.path}' has no row '{image_id(img_path)}' for image "
                f"'{img_path}': write it for this data set, or set gate.missing='keep'"
            )
        kept = np.ones(len(self.table.classes), bool) if row is None else row >= self.threshold
        if self._background is not None:
            kept[self._background] = True
        return torch.from_numpy(kept)

    def _check(self, classes: tuple[str, ...]) -> None:
        """Compare table, data set and segmentor; at once, and again when one of them changes."""
        split = MessageHub.get_current_instance().get_info("checkpoint_split", None)
        if classes == self._classes and split == self._split:
            return
        if classes != self.table.classes:
            pairs = list(zip(classes, self.table.classes))
            at = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
            named = [
                names[at] if at < len(names) else None for names in (classes, self.table.classes)
            ]
            raise DataError(
                f"score table '{self.path}' has other classes than the data set "
                f"({len(self.table.classes)} and {len(classes)}): class {at} is {named[1]!r} in the "
                f"table and {named[0]!r} in the data set"
            )
        self._background = self._find_background(classes)
        if self.check_split:
            self._compare_splits(split)
        self._classes, self._split = classes, split

    def _find_background(self, classes: tuple[str, ...]) -> int | None:
        if self.background in (None, *classes):
            return None if self.background is None else classes.index(self.background)
        if isinstance(self.background, int) and 0 <= self.background < len(classes):
            return self.background
        if self.background == _DEFAULTS["background"]:
            return None
        raise ConfigError(
            f"gate.background={self.background!r} is none of the {len(classes)} classes"
            f"{close_matches(self.background, classes)}"
        )

    def _compare_splits(self, segmentor: Mapping | None) -> None:
        classifier = self.table.split
        key = "labeled_sha256"
        unknown = [
            name
            for name, split in (
                (f"score table '{self.path}'", classifier),
                ("the segmentor's checkpoint", segmentor),
            )
            if not split or key not in split
        ]
        if unknown:
            print_log(
                f"{' and '.join(unknown)} do{'es' * (len(unknown) == 1)} not say which images had "
                "labels: make sure that classifier and segmentor were trained on the same ones",
                "current",
                logging.WARNING,
            )
        elif classifier[key] != segmentor[key]:
            described = [
                f"split {split.get('name')} ({split.get('labeled')} labelled images)"
                for split in (classifier, segmentor)
            ]
            raise DataError(
                f"score table '{self.path}' comes from a classifier trained on {described[0]}, the "
                f"segmentor was trained on {described[1]}: train both on the same labels, or set "
                "gate.check_split=False"
            )
