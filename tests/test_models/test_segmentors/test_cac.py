# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CAC: what every method must do, and its step against the reference step.

Known answers: docs/methods/cac.md. Those of the loss: test_losses/test_contrastive.py, of the pair of
crops: test_transforms/test_crop_pair.py.
"""

from __future__ import annotations

from method_tester import MethodTester

STRONG = dict(type="StrongPhotometric", blur_size=5, blur_first=True)


class TestCAC(MethodTester):
    name = "cac"
    model = dict(type="CAC", strong=STRONG, threshold=0.4, temperature=0.5, step_save=2)
    dataset = dict(type="NoiseImages", pairs=True)
    heads = ("projector",)
    unsup_losses = ("unsup.loss_dc1", "unsup.loss_dc2")

    def golden_data(self, dataset: dict) -> dict:
        pipeline = dataset["unlabeled"]["pipeline"]
        pipeline[2:4] = [dict(type="OverlappingCropPair", crop_size=32)]
        return dataset
