# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The student of a self-training round: what every method must do, and its step against the reference.

Known answers of the weights: test_losses/test_self_training.py, of the boxes: test_views/test_cutout.py.
"""

from __future__ import annotations

import copy

import pytest
import torch
from method_tester import MethodTester
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from reference.self_training import self_training_step
from step_runner import NoiseImages, StepRunner, draw_batches
from tiny_nets import FCN

from mmsemi.errors import ConfigError
from mmsemi.structures import Images, SemiBatch

COUNTS = dict(labeled=2, pseudo=4)


class SelfTrainingTester(MethodTester):
    counts = COUNTS
    unsup_losses = ("loss",)  # one loss over labelled and pseudo-labelled images
    # There are no views of unlabelled images, and all images share one forward.
    test_views_can_leave_the_statistics_alone = None

    def golden_data(self, dataset: dict) -> dict:
        dataset["sources"] = dict(pseudo=dict(pool="labeled"))
        return dataset


class TestDynamic(SelfTrainingTester):
    name = "dst_cbc"
    model = dict(type="SelfTraining", weight=dict(type="DynamicWeight", gamma=2))


class TestStrong(SelfTrainingTester):
    name = "st"
    model = dict(
        type="SelfTraining",
        strong=dict(type="StrongPhotometric"),
        cutout=dict(type="Cutout"),
    )


def make_batch(seed: int = 0) -> tuple[SemiBatch, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sources = {}
    for name, count in COUNTS.items():
        pixels = torch.randn(count, 3, 16, 16, generator=generator, dtype=torch.float64)
        labels = torch.randint(0, 3, (count, 16, 16), generator=generator)
        labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
        samples = [SegDataSample(gt_sem_seg=PixelData(data=row[None])) for row in labels]
        valid = torch.ones(count, 16, 16, dtype=torch.bool)
        sources[name] = Images(pixels, pixels, valid, samples, labels)
    confidence = torch.rand(COUNTS["pseudo"], 16, 16, generator=generator, dtype=torch.float32)
    for sample, row in zip(sources["pseudo"].samples, confidence):
        sample.gt_confidence = PixelData(data=row[None])
    return SemiBatch(sources["labeled"], sources=dict(pseudo=sources["pseudo"])), confidence


@pytest.mark.parametrize(
    "weight",
    [
        None,
        dict(type="DynamicWeight", gamma=3),
        dict(type="StoredWeight", gamma=2),
        dict(type="MutualWeight", gamma1=2, gamma2=3),
    ],
    ids=lambda weight: weight and weight["type"],
)
def test_the_step_is_the_reference_step(weight):
    torch.manual_seed(0)
    segmentor = copy.deepcopy(FCN)
    segmentor["decode_head"]["dropout_ratio"] = 0.0
    model = MODELS.build(dict(type="SelfTraining", segmentor=segmentor, weight=weight)).double()
    model.init_weights()
    batch, confidence = make_batch()
    pseudo = batch.sources["pseudo"]
    losses = model.train()(copy.deepcopy(batch), mode="loss")
    found = sum(value for key, value in losses.items() if "loss" in key)
    found.backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    expected = self_training_step(
        model.student,
        batch.labeled.pixels_NCHW,
        batch.labeled.labels_NHW,
        pseudo.pixels_NCHW,
        pseudo.labels_NHW,
        confidence,
        weight,
    )["loss"]
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    for ours, parameter in zip(gradients, model.parameters()):
        assert torch.allclose(ours, parameter.grad, rtol=1e-4, atol=1e-7)


def test_cutout_hides_its_labels():
    model = TestStrong().step_runner().model
    batch = draw_batches(NoiseImages(), COUNTS, 1)[0]
    inputs = model.data_preprocessor(copy.deepcopy(batch), training=True)["inputs"]
    assert inputs.generator is not None
    views, labels = model._views(inputs.sources["pseudo"], inputs)
    hidden = labels != inputs.sources["pseudo"].labels_NHW
    assert hidden.any() and (labels[hidden] == 255).all()
    again = model.data_preprocessor(copy.deepcopy(batch), training=True)["inputs"]
    views2, labels2 = model._views(again.sources["pseudo"], again)
    assert torch.equal(views, views2) and torch.equal(labels, labels2)


def test_refusals():
    tester = TestDynamic()
    runner: StepRunner = tester.step_runner()
    batch = draw_batches(NoiseImages(), dict(labeled=2, gt=2), 1)[0]
    with pytest.raises(ConfigError, match="PseudoLabelDataset"):
        runner.step(batch)
    mutual = dict(weight=dict(type="MutualWeight", gamma1=5, gamma2=5))
    batch = draw_batches(NoiseImages(), COUNTS, 1)[0]
    for sample in batch["data_samples"]:
        if "gt_confidence" in sample:
            del sample.gt_confidence
    with pytest.raises(ConfigError, match="conf_map_path"):
        tester.step_runner(settings=mutual).step(batch)
