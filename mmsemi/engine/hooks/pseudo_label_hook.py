# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Pictures of the pseudo-labels, while training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.visualization import LocalVisBackend
from mmseg.registry import HOOKS
from PIL import Image
from torch import Tensor, nn

from ...datasets.truth import load_truth
from ...errors import ConfigError
from ...structures import Shown
from ...visualization.denormalize import denormalize
from ...visualization.pseudo_labels import pseudo_label_panel
from ..unwrap import unwrapped_model


@HOOKS.register_module()
class PseudoLabelVisHook(Hook):
    """Show the pseudo-labels of unlabelled images, every ``interval`` iterations.

    Written is ``<work_dir>/<timestamp>/vis_data/pseudo_labels/iter_<N>.png``, and the same picture into
    the image backends of the visualizer (TensorBoard): for each sample the weak view, its label and
    confidence, the student's view and the label that it is trained on; below them the share of each class
    in all pixels of the student's views. The shares over time are those of :class:`DiagnosisHook`.

    Methods without pseudo-labels write nothing. Of several hooks of this type in a run (``default_hooks``
    has one, ``custom_hooks`` may have one with other settings) the last one counts.

    The model keeps its batch only in these iterations (``model.wants_to_show``, ``model.shown``); the
    others cost nothing. No random number is drawn.

    Args:
        interval: Iterations between pictures; None: the interval of the validations.
        num_samples: Samples in a picture, the first ones of the batch.
        show_truth: Also show the masks of the unlabelled images, where the labelled data set holds
            them. Off, no such mask is ever opened.

    Example:
        >>> default_hooks = dict(pseudo_labels=dict(interval=500, show_truth=True))
    """

    priority = "LOW"

    def __init__(
        self, interval: int | None = None, num_samples: int = 2, show_truth: bool = False
    ) -> None:
        for name, value in (("interval", interval), ("num_samples", num_samples)):
            if value is not None and value < 1:
                raise ConfigError(f"PseudoLabelVisHook.{name}={value} must be at least 1")
        self.interval = interval
        self.num_samples = num_samples
        self.show_truth = show_truth
        self._is_useless = False

    def before_train(self, runner) -> None:
        """Leave it to a later hook of this type, if there is one."""
        last = [hook for hook in runner.hooks if type(hook) is type(self)][-1]
        self._is_useless = last is not self

    def _is_due(self, runner) -> bool:
        return (
            self.every_n_train_iters(runner, self.interval)
            and not self._is_useless
            and is_main_process()
        )

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        """Ask the model to keep this batch, if it will be shown."""
        if self._is_due(runner):
            unwrapped_model(runner).wants_to_show = True

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Show what the model kept."""
        if not self._is_due(runner):
            return
        model = unwrapped_model(runner)
        shown = getattr(model, "shown", None)
        model.wants_to_show, model.shown = False, None
        if shown is None:
            self._is_useless = True
            runner.logger.debug(f"{type(model).__name__} has no pseudo-labels to show")
            return
        self._show(runner, model, shown, data_batch)

    @torch.no_grad()
    def _show(self, runner, model: nn.Module, shown: Shown, data_batch: Any) -> None:
        dataset = runner.train_dataloader.dataset
        meta = getattr(dataset, "metainfo", {})
        classes = meta.get("classes") or [f"class {i}" for i in range(model.num_classes)]
        palette = meta.get("palette") or _some_palette(len(classes))
        shares = class_shares(shown.target_BHW, len(classes)).tolist()
        step = runner.iter + 1

        count = min(self.num_samples, len(shown.views_BCHW))
        first = shown.first_B[:count].tolist()
        picked = dict(
            image=denormalize(shown.images.pixels_NCHW[first], model.data_preprocessor),
            student=denormalize(shown.views_BCHW[:count], model.data_preprocessor),
            label=shown.pseudo.label_NHW[first].cpu().numpy(),
            confidence=shown.pseudo.confidence_NHW[first].cpu().numpy(),
            target=shown.target_BHW[:count].cpu().numpy(),
        )
        rows = [{key: values[i] for key, values in picked.items()} for i in range(count)]
        if self.show_truth:
            self._add_truth(rows, first, dataset, data_batch, model.ignore_index)
        picture = pseudo_label_panel(rows, classes, palette, shares, model.ignore_index)

        folder = Path(runner.log_dir) / "vis_data" / "pseudo_labels"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"iter_{step}.png")
        for backend in runner.visualizer._vis_backends.values():
            if not isinstance(backend, LocalVisBackend):  # it would write a second file
                backend.add_image("pseudo_labels", picture, step)

    @staticmethod
    def _add_truth(
        rows: list[dict], first: list[int], dataset: Any, data_batch: dict, ignore_index: int
    ) -> None:
        """Add the mask of each row's image, padded as the image is."""
        unlabeled = [
            number
            for number, sample in enumerate(data_batch["data_samples"])
            if sample.get("source") == "unlabeled"
        ]
        for row, index in zip(rows, first):
            number = unlabeled[index]
            sample, image = data_batch["data_samples"][number], data_batch["inputs"][number]
            mask = load_truth(dataset, sample, image)
            if mask is not None:
                row["truth"] = np.full_like(row["label"], ignore_index)
                row["truth"][: mask.shape[0], : mask.shape[1]] = mask.numpy()


def class_shares(target_BHW: Tensor, num_classes: int) -> Tensor:
    """Share (num_classes,) of each class in all pixels; other label values count in the divisor."""
    kept = target_BHW[(target_BHW >= 0) & (target_BHW < num_classes)]
    return torch.bincount(kept.flatten(), minlength=num_classes).double() / target_BHW.numel()


def _some_palette(num_classes: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num_classes, 3))
