# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the hook shows is what the method trained on, and training is not touched by it."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image

from mmsemi.datasets import Draw, SemiDataset
from mmsemi.datasets.truth import load_truth
from mmsemi.engine.hooks import pseudo_label_hook
from mmsemi.engine.hooks.pseudo_label_hook import PseudoLabelVisHook, class_shares, denormalize
from mmsemi.errors import ConfigError
from mmsemi.models import SemiSegmentor

CLASSES = ("background", "left", "right")
CHECKPOINT = dict(type="AtomicCheckpointHook", by_epoch=False, interval=1000)
_numbers = itertools.count()


@pytest.fixture
def train(semi_config, segmentor_config, preprocessor_config, tmp_path, monkeypatch):
    """Trains 5 iterations; returns the runner, the losses and the folder of its visualizer."""
    monkeypatch.setattr(Runner, "_log_env", lambda self, env_cfg: None)

    def run(
        method: str = "CPS",
        mixed: bool = False,
        hook: dict | None = None,
        default_hook: dict | None = None,
    ):
        number = next(_numbers)
        hooks = dict(checkpoint=CHECKPOINT)
        if default_hook:
            hooks["pseudo_labels"] = dict(type="PseudoLabelVisHook", **default_hook)
        mix = dict(mix=dict(type="CutMix")) if mixed else {}
        settings = dict(interval=2) if hook is None else hook
        runner = Runner(
            model=dict(
                type=method,
                segmentor=segmentor_config,
                data_preprocessor=preprocessor_config,
                **mix,
            ),
            work_dir=str(tmp_path / f"run{number}"),
            train_dataloader=dict(
                dataset=semi_config,
                sampler=dict(
                    type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=4)
                ),
                batch_size=6,
                num_workers=0,
            ),
            train_cfg=dict(type="SemiIterBasedTrainLoop", max_iters=5, val_interval=1000),
            default_hooks=hooks,
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.02, momentum=0.9)),
            custom_hooks=[dict(type="PseudoLabelVisHook", **settings)] if settings else [],
            visualizer=dict(
                type="SegLocalVisualizer",
                name=f"visualizer{number}",
                vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")],
            ),
            log_processor=dict(by_epoch=False),
            randomness=dict(seed=1),
            default_scope="mmseg",
            experiment_name=f"pseudo_labels{number}",
        )
        losses, runner.lines = [], []
        handler = logging.Handler()
        handler.emit = lambda record: runner.lines.append(record.getMessage())
        runner.logger.addHandler(handler)
        model = runner.model
        step = model.train_step
        model.train_step = lambda *a, **k: losses.append(step(*a, **k)) or losses[-1]
        runner.train()
        return runner, [one["loss"].item() for one in losses], Path(runner.log_dir) / "vis_data"

    return run


@pytest.mark.parametrize("mixed", [False, True])
def test_pictures_and_shares_of_what_was_trained_on(train, mixed, monkeypatch):
    seen = []
    show = PseudoLabelVisHook._show
    monkeypatch.setattr(
        PseudoLabelVisHook,
        "_show",
        lambda self, runner, model, shown, batch: (
            seen.append(shown) or show(self, runner, model, shown, batch)
        ),
    )
    runner, _, folder = train(mixed=mixed)
    assert sorted(p.name for p in (folder / "pseudo_labels").iterdir()) == [
        "iter_2.png",
        "iter_4.png",
    ]
    assert not (folder / "vis_image").exists(), "one file a picture"
    assert len(seen) == 2 and runner.model.shown is None and not runner.model.wants_to_show
    first = seen[0]
    tensors = (*first.pseudo[:2], first.views_BCHW, first.target_BHW)
    assert not any(value.requires_grad for value in tensors)
    for shown in seen:
        target = shown.target_BHW
        assert target.shape == ((2, 32, 32) if mixed else (4, 32, 32))
        if not mixed:
            assert torch.equal(shown.pseudo.label_NHW, target)
        assert len(shown.views_BCHW) == len(target) and len(shown.images) == 4
        assert shown.first_B.tolist() == list(range(len(target)))
        confidence = shown.pseudo.confidence_NHW
        assert (confidence >= 1 / 3 - 1e-6).all() and (confidence <= 1).all()


def test_the_picture_reaches_tensorboard(train):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, _, folder = train(mixed=True)
    accumulator = events.EventAccumulator(str(folder), size_guidance={"images": 0})
    accumulator.Reload()
    images = accumulator.Images("pseudo_labels")
    assert [image.step for image in images] == [2, 4]
    picture = Image.open(folder / "pseudo_labels" / "iter_4.png")
    assert (images[1].width, images[1].height) == picture.size


@pytest.mark.parametrize("mixed", [False, True])
def test_training_is_the_same_with_and_without(train, mixed):
    with_hook, without = train(mixed=mixed)[1], train(mixed=mixed, hook={})[1]
    assert with_hook == without


def test_other_iterations_keep_nothing_and_masks_stay_closed(train, monkeypatch):
    kept, show = [], SemiSegmentor.show
    monkeypatch.setattr(
        SemiSegmentor, "show", lambda self, *args: show(self, *args) or kept.append(self.shown)
    )
    monkeypatch.setattr(pseudo_label_hook, "load_truth", lambda *_: pytest.fail("opened a mask"))
    train(mixed=True, hook=dict(interval=3))
    assert [shown is not None for shown in kept] == [False, False, True, False, False]


def test_a_method_without_pseudo_labels_writes_nothing(train):
    runner, _, folder = train("Supervised")
    assert not (folder / "pseudo_labels").exists() and not runner.model.wants_to_show


def test_the_last_hook_of_a_run_counts(train):
    """One in ``custom_hooks`` replaces the default one."""
    _, _, folder = train(mixed=True, hook=dict(interval=4), default_hook=dict(interval=1))
    assert [path.name for path in (folder / "pseudo_labels").iterdir()] == ["iter_4.png"]


def test_the_truth_is_that_of_the_augmented_image(semi_config):
    """Colours of the test images tell the class: truth must lie on them after crop and flip."""
    dataset = SemiDataset(**{k: v for k, v in semi_config.items() if k != "type"})
    colours = torch.tensor([[40, 40, 200], [200, 40, 40], [40, 200, 40]]).flip(1)  # BGR as loaded
    for seed, index in enumerate(dataset.source_ranges["unlabeled"]):
        sample = dataset[Draw(index, 1000 + seed)]
        assert "gt_sem_seg" not in sample["data_samples"]
        truth = load_truth(dataset, sample["data_samples"], sample["inputs"])
        pixels = sample["inputs"].permute(1, 2, 0)[:, :, None].int()
        nearest = (pixels - colours).abs().sum(-1).argmin(-1)
        known = truth != 255
        assert known.float().mean() > 0.7
        assert (nearest == truth)[known].float().mean() > 0.9
        other = dataset[Draw(index, 77 + seed)]["inputs"]
        assert load_truth(dataset, sample["data_samples"], other) is None


def test_truth_can_be_asked_for(train, monkeypatch):
    rows = []
    draw = pseudo_label_hook.pseudo_label_panel
    monkeypatch.setattr(
        pseudo_label_hook,
        "pseudo_label_panel",
        lambda given, *rest: rows.extend(given) or draw(given, *rest),
    )
    train(mixed=True, hook=dict(interval=5, num_samples=1, show_truth=True))
    assert len(rows) == 1 and rows[0]["truth"].shape == (32, 32)
    assert set(np.unique(rows[0]["truth"])) <= {0, 1, 2, 255}


@pytest.mark.parametrize("bgr_to_rgb", [True, False])
def test_images_come_back_from_their_normalised_form(preprocessor_config, bgr_to_rgb):
    """As RGB, whatever the network is given; files are read as BGR."""
    config = {**preprocessor_config, "bgr_to_rgb": bgr_to_rgb, "size": (8, 8)}
    preprocessor = MODELS.build(config)
    image = torch.randint(256, (3, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    sample = SegDataSample(metainfo=dict(source="unlabeled"))
    batch = dict(inputs=[image], data_samples=[sample])
    pixels = preprocessor(batch, training=True)["inputs"].unlabeled.pixels_NCHW
    (rgb,) = denormalize(pixels, preprocessor)
    assert np.array_equal(rgb, image.flip(0).permute(1, 2, 0).numpy())


def test_shares_count_pixels_that_are_not_kept_in_the_divisor():
    target = torch.tensor([[[0, 1], [1, 255]], [[255, 2], [1, 255]]])
    assert class_shares(target, 4).tolist() == [1 / 8, 3 / 8, 1 / 8, 0]


def test_wrong_settings_are_refused():
    for name in ("interval", "num_samples"):
        with pytest.raises(ConfigError, match=f"{name}=0"):
            PseudoLabelVisHook(**{name: 0})
