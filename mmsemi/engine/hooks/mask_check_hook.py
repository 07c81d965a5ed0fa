# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Test masks get the checks of training masks."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ...datasets.pipelines import insert_mask_checks


@HOOKS.register_module()
class MaskCheckHook(Hook):
    """Check value, size and kind of every mask that a test reads.

    mmseg's ``IoUMetric`` drops values that are no class without a word, so that a wrong mask gives a
    wrong mIoU. (Training and its validation are checked by the training loop.)
    """

    def before_test(self, runner) -> None:
        """Put the checks into the test pipeline, before its workers start."""
        insert_mask_checks(runner.test_loop.dataloader.dataset)
