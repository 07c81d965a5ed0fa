# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Early stopping that a resumed run goes on with."""

from __future__ import annotations

import logging

from mmengine.hooks import EarlyStoppingHook
from mmengine.logging import print_log
from mmseg.registry import HOOKS

from ..plateau import check_monitored

_KEY = "early_stopping"


@HOOKS.register_module()
class ResumableEarlyStoppingHook(EarlyStoppingHook):
    """mmengine's ``EarlyStoppingHook`` whose best score and wait count are in the checkpoint.

    The same arguments, but a ``monitor`` that the validation does not give is an error. A run that
    was stopped early and is resumed ends at once, unless ``patience`` has grown or
    ``stopping_threshold`` moved on.
    """

    # Before the checkpoint hook, which writes the state of this validation.
    priority = "LOW"

    def before_train(self, runner) -> None:
        """Take over the state of the run that is resumed."""
        state = runner.message_hub.get_info(_KEY, None)
        if runner.iter == 0 or not state:
            return
        self.best_score, self.wait_count = state["best_score"], state["wait_count"]
        is_better, limit = self.rule_map[self.rule], self.stopping_threshold
        if limit is not None and is_better(self.best_score, limit):
            reason = f"with {self.monitor} {self.best_score:.4g}"
            self._stop(runner, reason, "another stopping_threshold")
        elif self.wait_count >= self.patience:
            reason = (
                f"after {self.wait_count} validations without a better {self.monitor} than "
                f"{self.best_score:.4g}"
            )
            self._stop(runner, reason, "a larger patience")

    @staticmethod
    def _stop(runner, reason: str, remedy: str) -> None:
        runner.train_loop.stop_training = True
        print_log(
            f"the run was stopped early {reason}: give the early stopping hook {remedy} to go on",
            "current",
            logging.WARNING,
        )

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Count the validation and store the state.

        Raises:
            ValueError: The metrics lack the monitored one.
        """
        check_monitored("early stopping", self.monitor, metrics)
        super().after_val_epoch(runner, metrics)
        state = dict(best_score=float(self.best_score), wait_count=int(self.wait_count))
        runner.message_hub.update_info(_KEY, state)
