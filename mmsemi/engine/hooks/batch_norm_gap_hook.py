# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How far batch norm's running statistics are from those of the batches that the networks train on."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from mmseg.evaluation.metrics import IoUMetric
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ...models.batch_norm import batch_norms, by_batch_statistics, follows_batch
from ...models.forward import decode_stages, eval_mode, forward, hard_labels
from ...models.segmentors.base import SemiSegmentor
from ...structures import Images
from ..unwrap import unwrapped_model

#: Name of the number in logs.
KEY = "val/batch_norm_gap"
#: Where the message hub holds what it was measured from: iteration, network, and both scores.
_MEASURED_KEY = "batch_norm_gap"


@HOOKS.register_module()
class BatchNormGapHook(Hook):
    """Log, at each validation, what the labelled batch loses by the running statistics of batch norm.

    The number is ``batch_norm_gap``: mIoU (%) on the last labelled batch, over the classes in its
    masks, with the batch's statistics as in training, minus that with the running ones, by which
    teachers label and validations predict; of several networks the largest one. A large number says
    that the running statistics come from other images than the labelled ones, which no loss shows.

    :class:`DiagnosisHook` warns of a large one. Neither forward has dropout, changes a statistic or draws
    a random number. There is no number where no batch norm is in train mode, for an image classifier, and
    where the labelled images are too few to normalise by.
    """

    # Before CheckpointHook (VERY_LOW): a run that resumes from a checkpoint, and makes up for its
    # validation, has the number in the message hub.
    priority = "LOW"

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Measure on the batch that a validation will follow."""
        if self._validation_follows(runner, batch_idx):
            self.measure(runner, data_batch)

    def before_val(self, runner) -> None:
        """Forget the number of an earlier validation."""
        if measured_gap(runner) is None:
            runner.message_hub.log_scalars.pop(KEY, None)

    def _validation_follows(self, runner, batch_idx: int) -> bool:
        if runner.val_loop is None:
            return False
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            return self.end_of_epoch(runner.train_dataloader, batch_idx) and (
                self.every_n_epochs(runner, runner.val_interval) or self.is_last_train_epoch(runner)
            )
        return self.every_n_train_iters(runner, runner.val_interval) or self.is_last_train_iter(
            runner
        )

    def measure(self, runner, data_batch: Any) -> None:
        """Log the number for a batch, if it has one."""
        model = unwrapped_model(runner)
        if not isinstance(model, SemiSegmentor):
            return
        batch = model.data_preprocessor(data_batch, training=True)["inputs"]
        names = [name for name in model.network_names if name not in ("teacher", "ensemble")]
        scores = {name: mode_scores(model.network(name), batch.labeled) for name in names}
        gaps = {name: pair[0] - pair[1] for name, pair in scores.items() if pair is not None}
        if not gaps:
            return
        name = max(gaps, key=gaps.get)
        runner.message_hub.update_scalar(KEY, gaps[name])
        measured = dict(iter=runner.iter + 1, network=str(name), scores=scores[name])
        runner.message_hub.update_info(_MEASURED_KEY, measured)


def measured_gap(runner) -> tuple[str, float, float] | None:
    """Network, mIoU (%) by the batch's statistics and by the running ones, if measured just now."""
    measured = runner.message_hub.get_info(_MEASURED_KEY)
    if measured is None or measured["iter"] != runner.iter:
        return None
    return measured["network"], *measured["scores"]


def mode_scores(net: nn.Module, labeled: Images) -> tuple[float, float] | None:
    """mIoU (%) of a network by batch norm's statistics of the batch, and by its running ones.

    Args:
        net: A segmentor in train mode; it keeps its mode and its statistics.
        labeled: Images with labels, on all ranks.

    Returns:
        None where no batch norm would use the batch, or the batch is too small to be normalised.
    """
    norms = [norm for norm in batch_norms(net) if follows_batch(norm)]
    if not norms:
        return None
    with eval_mode(net):
        by_running = mean_iou(_areas(net, labeled))
        try:
            with by_batch_statistics(norms):
                return mean_iou(_areas(net, labeled)), by_running
        except ValueError:  # of torch: one value per channel has no variance
            return None


def _areas(net: nn.Module, labeled: Images) -> Tensor:
    """Pixels (3, C) of each class, on all ranks: intersection, union, ground truth."""
    logits = forward(net, labeled.pixels_NCHW).logits_NCHW
    count = logits.shape[1]
    intersect, union, _, truth = IoUMetric.intersect_and_union(
        hard_labels(logits).cpu(),
        labeled.labels_NHW.cpu(),
        count,
        decode_stages(net)[-1].ignore_index,
    )
    areas = torch.stack([intersect, union, truth]).to(logits.device)
    all_reduce(areas)
    return areas


def mean_iou(areas: Tensor) -> float:
    """mIoU in percent over the classes that the ground truth has; 0 where it has none.

    Args:
        areas: (3, C) pixels of each class: intersection, union, ground truth.
    """
    intersect, union, truth = areas[:, areas[2] > 0]
    return 100 * (intersect / union).mean().item() if len(truth) else 0.0
