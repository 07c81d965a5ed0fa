# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Says why a run goes wrong: in the log while it trains, in a file, and at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmseg.registry import HOOKS
from torch import nn

from ...errors import ConfigError
from ...models.label_counts import LabelCounts
from ...models.segmentors.base import SemiSegmentor
from .. import diagnosis
from ..diagnosis import Finding, Ledger, Shares
from ..unwrap import unwrapped_model
from .batch_norm_gap_hook import measured_gap

#: Where the state lives in a checkpoint.
CHECKPOINT_KEY = "diagnosis"

_SUPERVISED = "start from a supervised checkpoint (mmsemi train --from supervised)"


@HOOKS.register_module()
class DiagnosisHook(Hook):
    """Look for what goes wrong in semi-supervised runs (docs/diagnosis.md).

    A finding is a warning in the log, once, and again if it comes back after it was gone; a line of
    ``<work_dir>/<timestamp>/vis_data/findings.jsonl`` with ``step``, ``name``, ``text``, ``setting`` and
    ``guide``; and a line of the summary at the end of the training. A resumed run goes on with all of it.

    With the log, the visualizer gets ``pseudo_label/<class>``, the share of the class in all pixels of
    unlabelled images by the pseudo-labels that the student is trained on, of all processes since the last
    time, and ``pseudo_label/kept``, their sum. Pixels are counted on the device; nothing is read back
    between logs, and no random number is drawn.

    Args:
        patience: Iterations that pseudo-labels and the labelled loss are looked at over; None: a fifth of
            the training, at least 20 and at most 2,000.
        missing_ratio: A class is never pseudo-labelled if its share of the pseudo-labels is below this
            times its share of the labelled pixels.
        dominance: One class is too much above this share of the pseudo-labels, if
        rest_ratio: the other ones' share is below this times their share of the labelled pixels.
        kept_low: No label is kept up to this share of the pixels.
        kept_high: All are kept from this share on, where a threshold should decide.
        loss_low: Mean labelled loss (without ``sup_weight``) that is 0.
        batch_norm_gap: Points of mIoU between train and eval mode on labelled images, in two validations in
            a row, see :class:`BatchNormGapHook`.
        baseline: Score of the supervised run in percent, if it is known.
        margin: Points below it that are harm, in validations of the last quarter of the run.
        metric: Of the validation that is compared with it.

    Raises:
        ConfigError: A number is not positive, or a share is above 1.
    """

    # Behind the log and the schedules, before the checkpoint.
    priority = "LOW"

    def __init__(
        self,
        patience: int | None = None,
        missing_ratio: float = 1e-3,
        dominance: float = 0.95,
        rest_ratio: float = 1 / 3,
        kept_low: float = 1e-3,
        kept_high: float = 0.999,
        loss_low: float = 2e-3,
        batch_norm_gap: float = 10.0,
        baseline: float | None = None,
        margin: float = 1.0,
        metric: str = "mIoU",
    ) -> None:
        shares = dict(missing_ratio=missing_ratio, dominance=dominance, rest_ratio=rest_ratio)
        shares |= dict(kept_low=kept_low, kept_high=kept_high)
        for name, value in shares.items():
            if not 0 < value <= 1:
                raise ConfigError(f"DiagnosisHook.{name}={value} must lie in (0, 1]")
        others = dict(patience=patience, loss_low=loss_low, batch_norm_gap=batch_norm_gap)
        for name, value in dict(others, margin=margin).items():
            if value is not None and not value > 0:
                raise ConfigError(f"DiagnosisHook.{name}={value} must be positive")
        self.patience = patience
        self.missing_ratio = missing_ratio
        self.dominance = dominance
        self.rest_ratio = rest_ratio
        self.kept_low = kept_low
        self.kept_high = kept_high
        self.loss_low = loss_low
        self.batch_norm_gap = batch_norm_gap
        self.baseline = baseline
        self.margin = margin
        self.metric = metric
        #: Share of the pixels of unlabelled images with a pseudo-label when the log was last written.
        self.kept: float | None = None
        self.ledger = Ledger()
        self._gap: float | None = None
        self._loaded: dict[str, Any] | None = None
        self._is_training = False

    # ---------------------------------------------------------------- a run

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the stored state until the run really resumes."""
        self._loaded = checkpoint.get(CHECKPOINT_KEY)

    def before_train(self, runner) -> None:
        """Begin to count, or go on."""
        if self.patience is None:
            self.patience = max(20, min(2000, runner.max_iters // 5))
        self.ledger, self.shares, self._gap = Ledger(), Shares(self.patience), None
        stored, self._loaded = self._loaded, None
        if runner.iter > 0 and stored is not None:
            self.ledger.load_state_dict(stored["ledger"])
            self.shares.load_state_dict(stored["shares"])
            self._gap = stored.get("batch_norm_gap")
        loggers = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._interval = loggers[0] if loggers else 50
        self._is_training = True
        model = unwrapped_model(runner)
        if isinstance(model, SemiSegmentor):
            # A head with one output channel gives the step two classes.
            classes = max(2, model.out_channels)
            model.label_counts = LabelCounts(classes, next(model.parameters()).device)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the state to checkpoints that a run can resume from."""
        if not self._is_training or "optimizer" not in checkpoint:
            return
        self._count(
            runner, of_all=False
        )  # the other processes are not here: theirs come with the log
        checkpoint[CHECKPOINT_KEY] = dict(
            ledger=self.ledger.state_dict(),
            shares=self.shares.state_dict(),
            batch_norm_gap=self._gap,
        )

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """With the log: read the counts, and look."""
        if not self.every_n_train_iters(runner, self._interval) and not self.is_last_train_iter(
            runner
        ):
            return
        counts = self._count(runner)
        if not is_main_process():
            return
        step = runner.iter + 1
        if counts is not None:
            self._log_shares(runner, counts, step)
        for name, finding in self._look(runner):
            self._note(runner, step, name, finding)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Look at the validation."""
        if not self._is_training or not is_main_process():
            return
        model, gap = unwrapped_model(runner), measured_gap(runner)
        if gap is not None:
            advice = (
                "set model.strong_view_stats=False, model.backbone_norm_eval=True, or "
                "norm_cfg=dict(type='GN', num_groups=16) of the head"
            )
            before, self._gap = self._gap, gap[1] - gap[2]
            finding = diagnosis.norm_gap(*gap, before, self.batch_norm_gap, advice)
            self._note(runner, runner.iter, "batch-norm-gap", finding)
        score = (metrics or {}).get(self.metric)
        is_late = runner.iter >= 0.75 * runner.max_iters
        if self.baseline is not None and score is not None and is_late:
            finding = diagnosis.below_supervised(
                score,
                self.baseline,
                self.margin,
                _advice(runner, _lower_weight(model)),
                self.metric,
                len(runner.val_dataloader.dataset),
            )
            self._note(runner, runner.iter, "below-supervised", finding)

    def after_train(self, runner) -> None:
        """The summary."""
        self._is_training = False
        model = unwrapped_model(runner)
        if isinstance(model, SemiSegmentor):
            model.label_counts = None
        if not is_main_process():
            return
        lines = self.ledger.summary()
        if not lines:
            runner.logger.info("diagnosis: nothing was found")
            return
        runner.logger.warning(f"diagnosis: {len(lines)} finding{'s' * (len(lines) > 1)}")
        for line in lines:
            runner.logger.warning(f"diagnosis: {line}")

    # ---------------------------------------------------------------- numbers

    def _count(self, runner, of_all: bool = True) -> np.ndarray | None:
        """Take the counts of the steps since the last time; (2, C + 1), None for another model."""
        counter = getattr(unwrapped_model(runner), "label_counts", None)
        if counter is None:
            return None
        steps, taken = counter.steps, counter.take()
        if of_all:
            all_reduce(taken)
        counts = taken.cpu().numpy()
        self.shares.add(*counts.tolist(), steps)
        return counts if steps else None

    def _log_shares(self, runner, counts: np.ndarray, step: int) -> None:
        kept = counts[1] / max(1.0, counts[1].sum())
        classes = _classes(runner, len(kept) - 1)
        self.kept = float(kept[:-1].sum())
        scalars = {f"pseudo_label/{name}": float(v) for name, v in zip(classes, kept)}
        scalars["pseudo_label/kept"] = self.kept
        runner.visualizer.add_scalars(scalars, step=step)

    def _look(self, runner) -> Iterator[tuple[str, Finding | None]]:
        """The outcome of each rule that needs no validation."""
        model, shares = unwrapped_model(runner), self.shares
        if shares.blocks:
            classes = _classes(runner, len(shares.labeled) - 1)
            advice = _advice(runner, _lower_bar(model))
            yield (
                "class-never-labelled",
                diagnosis.missing_classes(shares, classes, self.missing_ratio, advice),
            )
            yield (
                "one-class",
                diagnosis.dominating_class(
                    shares, classes, self.dominance, self.rest_ratio, advice
                ),
            )
            yield "nothing-kept", diagnosis.nothing_kept(shares, self.kept_low, advice)
            if model.keeps_by_threshold:
                advice = _setting(model, "raise", "threshold", "confidence_threshold")
                yield "everything-kept", diagnosis.everything_kept(shares, self.kept_high, advice)

        still = diagnosis.no_learning_rate(_learning_rates(runner))
        if runner.iter + 2 < runner.max_iters:  # a schedule may end with 0 in the last iteration
            yield "learning-rate-zero", still
        if getattr(model, "has_teacher", False):
            is_equal = still is None and _has_equal_teacher(model)
            advice = _setting(model, "lower", "momentum") + ", the weight of the new value"
            yield "teacher-equals-student", diagnosis.equal_teacher(is_equal, advice)
        losses = _labelled_losses(runner, model)
        if losses is not None:
            advice = (
                "train for fewer iterations (train_cfg.max_iters), label more images, or augment more in "
                "train_dataloader.dataset.labeled.pipeline"
            )
            finding = diagnosis.memorised_labels(losses, self.patience, self.loss_low, advice)
            yield "labelled-loss-zero", finding

    def _note(self, runner, step: int, name: str, finding: Finding | None) -> None:
        if not self.ledger.update(step, name, finding):
            return
        runner.logger.warning(f"diagnosis: {finding}")
        report = {key: value for key, value in self.ledger.reports[-1].items() if key != "gone"}
        path = Path(runner.log_dir) / "vis_data" / "findings.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(report, ensure_ascii=False) + "\n")


def _classes(runner, count: int) -> list[str]:
    """Names of the classes."""
    meta = getattr(runner.train_dataloader.dataset, "metainfo", {})
    return list(meta.get("classes") or [f"class {i}" for i in range(count)])


def _learning_rates(runner) -> dict[str, list[float]]:
    """Of the parameter groups of each optimiser."""
    rates = runner.optim_wrapper.get_lr()
    return {
        key.removesuffix("lr").removesuffix("."): values
        for key, values in rates.items()
        if key.split(".")[-1] == "lr"
    }


@torch.no_grad()
def _has_equal_teacher(model: nn.Module) -> bool:
    """Whether the teacher is the student after a step in which it should be an average."""
    teacher = model.teacher
    if int(teacher.steps) <= teacher.copy_steps + 1:
        return False
    own = dict(teacher.module.named_parameters())
    pairs = [
        (value, own[name])
        for name, value in model.student.named_parameters()
        if value.requires_grad and own[name] is not value
    ]
    return bool(pairs) and all(torch.equal(*pair) for pair in pairs)


def _labelled_losses(runner, model: nn.Module) -> np.ndarray | None:
    """The labelled loss of each iteration, the mean of several networks, without its weight."""
    weight = getattr(getattr(model, "settings", None), "sup_weight", 1)
    hub = runner.message_hub.log_scalars
    names = [key for key in hub if key.startswith("train/sup.") and "loss" in key]
    if not names or not weight:
        return None
    values = [hub[name].data[0] for name in names]
    length = min(map(len, values))
    networks = len(model.networks()) if hasattr(model, "networks") else 1
    return sum(value[-length:] for value in values) / (weight * networks) if length else None


# --- What to change -------------------------------------------------------------------------------


def _setting(model: nn.Module, verb: str, *names: str) -> str:
    """The first of these settings that the method has, with its value; '' without one."""
    settings = getattr(model, "settings", None)
    for name in names:
        if getattr(settings, name, None) is not None:
            return f"{verb} model.{name}={getattr(settings, name)!r}"
    return ""


def _lower_bar(model: nn.Module) -> str:
    """How a method comes to more labels of classes that it is not sure of."""
    later = _setting(model, "raise", "rampup_iters")
    if not model.keeps_by_threshold:
        later = later or _setting(model, "lower", "unsup_weight")
        return later or "make the stored labels with lower thresholds (self_training.labels)"
    lower = _setting(model, "lower", "threshold", "confidence_threshold")
    is_one = getattr(model.settings, "class_thresholds", None) is False
    by_class = "set model.class_thresholds=True" if is_one else ""
    return ", or ".join(part for part in (lower, by_class, later) if part)


def _lower_weight(model: nn.Module) -> str:
    return _setting(model, "lower", "unsup_weight")


def _advice(runner, own: str) -> str:
    """What to set of the method, and to start from a supervised network where the run does not."""
    start = "" if runner._load_from else _SUPERVISED
    return ", or ".join(part for part in (own, start) if part)
