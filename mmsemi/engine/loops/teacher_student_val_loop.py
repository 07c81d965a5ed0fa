# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Validation of every network of a semi-supervised model.

Differs from mmdetection's loop of the same name: the data are read once for all networks; the network
that the user will deploy reports under plain keys (``mIoU``), so ``save_best='mIoU'`` works;
``predict_on`` is restored whatever happens; the metrics are returned; the other networks need not be
evaluated each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from mmengine.runner.amp import autocast
from mmengine.runner.loops import _parse_losses, _update_losses
from mmseg.registry import LOOPS
from torch import nn
from torch.utils.data import DataLoader

from ...errors import ConfigError
from ...evaluation.class_iou_metric import EvaluationDetails
from ..plateau import check_monitored, plateau_schedulers
from ..unwrap import unwrapped_model
from .semi_train_loop import SemiIterBasedTrainLoop


@LOOPS.register_module()
class TeacherStudentValLoop(ValLoop):
    """Evaluate the network in ``predict_on`` and the model's other networks, in one pass over the data.

    Each batch is loaded, sent and normalised once; its networks predict one after the other. The first
    one reports plain keys (``mIoU``), another one ``<name>/mIoU``. Hooks see the outputs of the first
    one only, so that pictures of a validation show one network. A model without ``network_names`` is
    validated the stock way.

    Args:
        runner: The runner.
        dataloader: The validation loader or its config.
        evaluator: The metrics or their config; each network has results of its own.
        fp16: Whether to predict under autocast.
        also: Further networks to evaluate; ``None`` is all others in ``model.network_names``,
            ``[]`` is none.
        interval: Evaluate the further networks at every ``interval``-th validation of a training
            run, and at its end.

    Raises:
        ConfigError: ``interval`` is below 1, or ``also`` names a network that the model lacks.
    """

    def __init__(
        self,
        runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        also: list[str | int] | None = None,
        interval: int = 1,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        if interval < 1:
            raise ConfigError(f"val_cfg.interval={interval} must be at least 1")
        self.interval = interval
        names = list(getattr(self._model, "network_names", []))
        for name in also or []:
            if name not in names:
                raise ConfigError(
                    f"val_cfg.also names the network {name!r}, "
                    f"{type(self._model).__name__} has {names}"
                )
        self.also = also
        # Of the present validation: the networks, and for each its results and sums of losses.
        self._names: list[str | int | None] = []
        self._collected: dict[str | int | None, tuple[list[list], dict]] = {}
        #: What the metrics found beside numbers in the last validation, by network (None: a model
        #: without names); empty but on the main process.
        self.details: dict[str | int | None, EvaluationDetails] = {}

    @property
    def _model(self) -> nn.Module:
        return unwrapped_model(self.runner)

    def _others(self) -> list[str | int]:
        """Names of the networks that this validation evaluates under prefixed keys."""
        names = list(getattr(self._model, "network_names", []))
        if not names or not self._others_are_due():
            return []
        main = self._model.predict_on
        return [name for name in (names if self.also is None else self.also) if name != main]

    def _others_are_due(self) -> bool:
        runner = self.runner
        if runner.iter == 0:  # a validation outside of training
            return True
        # From the position, not from a counter: a resumed run keeps the rhythm.
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            position, end = runner.epoch, runner.max_epochs
        else:
            position, end = runner.iter, runner.max_iters
        return position >= end or (position // runner.val_interval) % self.interval == 0

    def _batches(self) -> Iterable:
        """The loader's batches; within a training, a signal cuts them off."""
        training = self.runner._train_loop
        is_watched = isinstance(training, SemiIterBasedTrainLoop)
        return training.watched(self.dataloader) if is_watched else self.dataloader

    def _predictions(self, data_batch: dict) -> Iterator[tuple[str | int | None, list]]:
        """What each network predicts, one after the other, for a batch that is sent once."""
        model = self._model
        if self._names == [None]:
            yield None, self.runner.model.val_step(data_batch)
            return
        data = model.data_preprocessor(data_batch, False)
        for name in self._names:
            # A network writes into its samples: each has its own, which share what was loaded.
            own = dict(data, data_samples=[sample.new() for sample in data["data_samples"]])
            with model.predicting_on(name):
                yield name, model._run_forward(own, mode="predict")

    @contextmanager
    def _results_of(self, name: str | int | None) -> Iterator[dict]:
        """Within, the evaluator has the results of one network; gives the sums of its losses."""
        metrics = self.evaluator.metrics
        results, losses = self._collected.setdefault(name, ([[] for _ in metrics], {}))
        for metric, own in zip(metrics, results):
            metric.results = own
        yield losses
        results[:] = [metric.results for metric in metrics]

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Evaluate all networks on a batch; hooks see the outputs of the first one."""
        runner, shown = self.runner, None
        runner.call_hook("before_val_iter", batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            for name, outputs in self._predictions(data_batch):
                with self._results_of(name) as losses:
                    outputs, _ = _update_losses(outputs, losses)
                    self.evaluator.process(data_samples=outputs, data_batch=data_batch)
                shown = outputs if shown is None else shown
        runner.call_hook("after_val_iter", batch_idx=idx, data_batch=data_batch, outputs=shown)

    def _metrics(self, name: str | int | None) -> dict[str, Any]:
        with self._results_of(name) as losses:
            metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
            if losses:
                metrics.update(_parse_losses(losses, "val"))
        found = [getattr(metric, "details", None) for metric in self.evaluator.metrics]
        details = next((one for one in found if one is not None), None)
        if details is not None:
            self.details[name] = details
        return metrics

    def run(self) -> dict[str, Any]:
        """Validate and return the metrics of all networks that were evaluated."""
        runner = self.runner
        runner.call_hook("before_val")
        runner.call_hook("before_val_epoch")
        runner.model.eval()
        has_names = bool(getattr(self._model, "network_names", []))
        self._names = [self._model.predict_on if has_names else None, *self._others()]
        self._collected.clear()
        self.details.clear()
        for index, data_batch in enumerate(self._batches()):
            self.run_iter(index, data_batch)
        first, *others = self._names
        metrics = self._metrics(first)
        for name in others:
            runner.logger.info(f"validation of the network '{name}'")
            own = self._metrics(name)
            metrics.update({f"{name}/{key}": value for key, value in own.items()})
        self._collected.clear()
        for one in plateau_schedulers(runner):
            check_monitored(f"param_scheduler: {type(one).__name__}", one.monitor, metrics)
        runner.call_hook("after_val_epoch", metrics=metrics)
        runner.call_hook("after_val")
        return metrics
