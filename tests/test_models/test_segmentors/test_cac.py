# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""CAC: what every method must do, and its step against the reference step.

Known answers: docs/methods/cac.md. Those of the loss: test_losses/test_contrastive.py, of the pair of
crops: test_transforms/test_crop_pair.py.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from method_runs import build_runner, train_rank
from method_tester import MethodTester
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS
from recorded import (
    Recorded,
    check_step,
    gradients,
    make_images,
    make_method,
    make_recorded,
    total,
)
from reference.cac import Bank, Crops, cac_step
from step_runner import StepRunner
from torch import Tensor, nn
from watchers import differing

from mmsemi.compat import load_checkpoint_file
from mmsemi.errors import ConfigError
from mmsemi.models import CAC
from mmsemi.models.features import classifier_features, pool_to_stride
from mmsemi.models.losses import NO_LABEL
from mmsemi.structures import SECOND_CROP, CropPair

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

    def test_the_checkpoint_holds_the_bank_and_the_weights_do_not(self, straight):
        checkpoint = load_checkpoint_file(str(Path(straight.work_dir) / "iter_2.pth"))
        bank = checkpoint["memory_bank"]
        assert bank["world_size"] == 1
        # Two steps, two crops of four images, 16 pixels each.
        assert [rows.shape for rows, _ in bank["steps"]] == [(128, 128)] * 2
        assert not [key for key in checkpoint["state_dict"] if "bank" in key]
        assert straight.model.memory_bank.extend(*bank["steps"][0])[0].shape == (3 * 128, 128)

    def test_two_ranks_start_together(self, gloo_pool, tmp_path):
        """Through two iterations the projector stays, weight decay or not; then both learn the same."""
        config = self.runner_config(tmp_path, max_iters=3, launcher="pytorch")
        config["model"]["start_iter"] = 2
        config["default_hooks"]["checkpoint"]["interval"] = 100
        config["optim_wrapper"]["optimizer"]["weight_decay"] = 0.1
        found = []
        for max_iters in (1, 2, 3):
            config["train_cfg"] = dict(config["train_cfg"], max_iters=max_iters)
            first, second = gloo_pool.run(train_rank, config)
            assert not differing(first, second)
            found.append(first)
        moved = [set(differing(*pair)) for pair in zip(found, found[1:])]
        assert moved[1] == set(first)
        assert moved[0] == {name for name in first if not name.startswith("projector.")}

    def test_weights_alone_bring_no_bank(self, straight, tmp_path):
        checkpoint = str(Path(straight.work_dir) / "iter_2.pth")
        runner = build_runner(self.runner_config(tmp_path, max_iters=1, load_from=checkpoint))
        runner.train()
        assert len(runner.model.memory_bank.steps) == 1

    def test_the_bank_of_another_number_of_processes_is_left(self, straight, tmp_path, monkeypatch):
        checkpoint = str(Path(straight.work_dir) / "iter_2.pth")
        config = self.runner_config(tmp_path, max_iters=3, load_from=checkpoint, resume=True)
        runner = build_runner(config)
        warned = []
        monkeypatch.setattr("mmsemi.models.memory_bank.get_world_size", lambda: 2)
        monkeypatch.setattr(runner.logger, "warning", lambda text, *_: warned.append(text))
        runner.train()
        assert len(runner.model.memory_bank.steps) == 1
        assert any("1 processes" in text and "2" in text for text in warned)


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        settings = dict(threshold=0.5) | settings
        return make_method(segmentor_config, preprocessor_config, type="CAC", **settings)

    return make


# --- The step -------------------------------------------------------------------------------------

SIZE = 64  # 8 x 8 features
BOXES = (
    [(0, 5, 2, 8), (0, 8, 0, 8), (3, 8, 0, 4), (0, 4, 0, 6)],
    [(3, 8, 0, 6), (0, 8, 0, 8), (0, 5, 4, 8), (4, 8, 2, 8)],
)
FLIPS = [(False, True), (True, True), (False, False), (True, False)]


@dataclass
class RecordedPairs(Recorded):
    """The strong views of the first and of the second crops, and the bank of the reference."""

    bank: Bank = field(default_factory=list)

    def expected(self, model: nn.Module, settings: object) -> dict[str, Tensor]:
        """Of the reference step; it goes on with its bank."""
        names = ("unsup_weight", "temperature", "threshold", "step_save", "ignore_padding", "eps")
        sources = self.batch.unlabeled, self.batch.sources[SECOND_CROP]
        crops = [
            Crops(view, [flips[i] for flips in FLIPS], BOXES[i], images.valid_NHW)
            for i, (view, images) in enumerate(zip(self.views, sources))
        ]
        labeled = self.batch.labeled
        return cac_step(
            model.student,
            model.projector,
            labeled.pixels_NCHW,
            labeled.labels_NHW,
            crops,
            self.bank,
            **{name: getattr(settings, name) for name in names},
        )


def make_pairs() -> RecordedPairs:
    """2 labelled images and 4 pairs; two of the first crops have padding."""
    recorded = make_recorded(views=2, size=SIZE)
    batch = recorded.batch
    for sample, first, second, flips in zip(batch.unlabeled.samples, *BOXES, FLIPS):
        sample.set_metainfo(dict(crop_pair=CropPair(first, second, flips, 8)))
    batch.sources[SECOND_CROP] = make_images(batch.unlabeled.pixels_NCHW.flip(2))
    return RecordedPairs(batch, recorded.views)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(temperature=0.5, unsup_weight=0.7, step_save=2),
        dict(step_save=0, ignore_padding=True),
        dict(eps=1e-8, projector_channels=5),
    ],
)
def test_the_step_is_the_reference_step(build, settings):
    """The second step has the rows of the first one in its bank."""
    runner = build(**settings)
    model, recorded = runner.model, make_pairs()
    seen = []
    for _ in range(2):
        reference = copy.deepcopy(model)
        expected = recorded.expected(reference, model.settings)
        losses = check_step(runner, recorded, expected, reference)
        assert 0.05 < losses["unsup.mask_ratio"] < 0.9 and losses["unsup.loss_dc1"] > 0
        seen.append(len(model.memory_bank.steps))
        runner.optim_wrapper.optimizer.step()
        model.zero_grad()
        recorded.views = [view + 0.1 for view in recorded.views]
    steps = model.settings.step_save
    assert seen == [min(steps, 1), min(steps, 2)]


def test_the_classifier_learns_nothing_from_unlabelled_images(build):
    model = build().model
    losses = make_pairs().loss(model)
    (losses["unsup.loss_dc1"] + losses["unsup.loss_dc2"]).backward()
    found = gradients(model)
    assert not [name for name in found if "conv_seg" in name]
    for name in ("projector.0.weight", "projector.2.bias", "student.backbone.conv1.weight"):
        assert found[name].abs().max() > 0


def test_only_the_anchors_view_is_moved(build):
    recorded = make_pairs()
    views = recorded.views = [view.requires_grad_() for view in recorded.views]
    losses = recorded.loss(build().model)
    for key, (own, other) in (("unsup.loss_dc1", views), ("unsup.loss_dc2", views[::-1])):
        found = torch.autograd.grad(losses[key], [own, other], retain_graph=True, allow_unused=True)
        assert found[0].abs().sum() > 0
        assert found[1] is None or not found[1].any()


# --- Before it starts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [
        dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.1),
        dict(type="AdamW", lr=0.001, weight_decay=0.1),
    ],
)
def test_before_the_start_unlabelled_images_are_not_there(build, optimizer):
    model = build(start_iter=3).model
    kind = getattr(torch.optim, optimizer.pop("type"))
    runner = StepRunner(model, OptimWrapper(kind(model.parameters(), **optimizer)))
    before = copy.deepcopy(model)
    for iteration in range(4):
        recorded = make_pairs()
        runner.message_hub.update_info("iter", iteration)
        runner.start_step()
        if iteration < 3:
            recorded.views = []
        losses = recorded.loss(model)
        runner.optim_wrapper.update_params(total(losses))
        moved = not torch.equal(model.projector[0].weight, before.projector[0].weight)
        started = iteration >= 3
        assert moved == started and len(model.memory_bank.steps) == started
        assert (losses["unsup.loss_dc1"] > 0) == started
        passes = model.student.backbone.bn1.num_batches_tracked
        assert passes == (iteration + 1 if not started else 6)
        state = runner.optim_wrapper.optimizer.state
        assert (model.projector[0].weight in state) == started
    assert not torch.equal(
        model.student.backbone.conv1.weight, before.student.backbone.conv1.weight
    )


def test_the_weight_follows_the_ramp_up(build):
    values = []
    for settings in (dict(), dict(rampup_iters=10)):
        runner = build(**settings)
        runner.message_hub.update_info("iter", 5)
        values.append(make_pairs().loss(runner.model)["unsup.loss_dc1"])
    torch.testing.assert_close(values[1], values[0] * 0.286505, rtol=1e-5, atol=0)


# --- Negatives ------------------------------------------------------------------------------------


def held(model: CAC) -> tuple[Tensor, Tensor]:
    """Rows and labels of the step that was taken last."""
    make_pairs().loss(model)
    return model.memory_bank.steps[-1]


def test_which_pixels_are_negatives(build):
    everything = held(build().model)
    assert everything[0].shape == (2 * 4 * 64, 128)
    torch.testing.assert_close(everything[0].norm(dim=1), torch.ones(512).double())
    for count in (256, 10_000):
        assert torch.equal(held(build(selected_num=count).model)[0], everything[0])
    some = held(build(selected_num=7).model)[0]
    assert len(some) == 14
    # Half of them of the first crops, half of the second ones.
    owner = (some @ everything[0].T).argmax(1)
    assert (owner[:7] < 256).all() and (owner[7:] >= 256).all() and len(set(owner.tolist())) == 14


def test_padding_is_a_negative_only_as_released(build):
    """One first crop has a row of cells with padding, one a column."""
    assert not (held(build().model)[1] == NO_LABEL).any()
    labels = held(build(ignore_padding=True).model)[1].view(2, 4, 8, 8)
    expected = torch.zeros_like(labels, dtype=torch.bool)
    expected[0, 1, -1:] = expected[0, 2, :, -1:] = True
    assert torch.equal(labels == NO_LABEL, expected)


# --- What is shown, and what is refused -----------------------------------------------------------


def test_labels_that_are_all_ignored_and_pairs_without_an_overlap(build):
    recorded, runner = make_pairs(), build()
    recorded.batch.labeled.labels_NHW.fill_(255)
    for sample in recorded.batch.unlabeled.samples:
        sample.set_metainfo(dict(crop_pair=CropPair((0, 0, 0, 4), (0, 0, 4, 8), (False, True), 8)))
    losses = recorded.loss(runner.model)
    assert total(losses) == 0 and losses["unsup.mask_ratio"] == 0
    total(losses).backward()
    assert all((gradient == 0).all() for gradient in gradients(runner.model).values())


def test_what_is_shown_of_the_labels(build):
    model = build().model
    model.wants_to_show = True
    recorded = make_pairs()
    view = recorded.views[0]
    recorded.loss(model)
    shown = model.shown
    assert shown.pseudo.label_NHW.shape == shown.target_BHW.shape == (4, SIZE, SIZE)
    assert shown.images is recorded.batch.unlabeled and shown.views_BCHW is view
    kept = shown.target_BHW != 255
    assert torch.equal(kept, shown.pseudo.confidence_NHW > 0.5) and 0 < kept.sum() < kept.numel()


@pytest.mark.parametrize(
    "settings",
    [
        dict(threshold=1.5),
        dict(temperature=0.0),
        dict(unsup_weight=-1.0),
        dict(start_iter=-1),
        dict(step_save=0.5),
        dict(selected_num=0),
        dict(stride=0),
        dict(eps=0.1),
        dict(ignore_padding=1),
        dict(predict_on="teacher"),
    ],
)
def test_settings_that_no_run_can_mean_are_refused(build, settings):
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        build(**settings)


def test_images_that_are_no_pairs_are_refused(build):
    recorded, model = make_pairs(), build().model
    recorded.batch.sources = {}
    with pytest.raises(ConfigError, match=r"unlabeled\.pipeline.*OverlappingCropPair"):
        recorded.loss(model)
    recorded = make_pairs()
    recorded.batch.unlabeled = None
    with pytest.raises(ConfigError, match=r"num_per_source\.unlabeled"):
        recorded.loss(model)
    with pytest.raises(ConfigError, match=r"stride=16.*stride=8"):
        make_pairs().loss(build(stride=16).model)


def test_other_methods_refuse_pairs(segmentor_config, preprocessor_config):
    model = make_method(segmentor_config, preprocessor_config, type="FixMatch").model
    with pytest.raises(ConfigError, match=r"FixMatch.*OverlappingCropPair"):
        model(make_pairs().batch, mode="loss")


def test_strides_and_heads_that_do_not_fit_are_refused(build, segmentor_config):
    model = build().model
    model.prepare_training()
    features = classifier_features(model.student, torch.zeros(2, 3, 64, 64).double())
    assert pool_to_stride(features, (64, 64), 16).shape[-2:] == (4, 4)
    with pytest.raises(ConfigError, match="stride=4"):
        build(stride=4).model.prepare_training()
    with pytest.raises(ConfigError, match="stride=24"):
        pool_to_stride(features, (64, 64), 24)
    head = segmentor_config["decode_head"]
    segmentor_config["decode_head"] = dict(
        type="DeepLabV2Head",
        in_channels=8,
        in_index=1,
        num_classes=3,
        loss_decode=head["loss_decode"],
    )
    with pytest.raises(ConfigError, match="DeepLabV2Head"):
        MODELS.build(dict(type="CAC", segmentor=segmentor_config))
