# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The floor computes the step's loss, and what is printed is what was measured."""

from __future__ import annotations

import copy
import json
import statistics

import pytest
import torch
import toy_teacher  # noqa: F401  (registers ToyTeacherStudent)
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS

from mmsemi.benchmark import format_table, main, run_benchmark
from mmsemi.benchmark.batches import fresh, make_batch, set_crop
from mmsemi.benchmark.floors import find_floor, plain_optimizers
from mmsemi.benchmark.measure import build_model, drop_pretrained, quartiles

OPTIMIZER = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=1e-3),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)


MIXES = {
    False: None,
    True: dict(type="CutMix"),
    "permute": dict(type="SingleBoxCutMix", pairing="permute", prob=1.0),
    "halves": dict(type="SingleBoxCutMix", pairing="halves", prob=1.0),
}


@pytest.fixture
def make_config(segmentor_config, preprocessor_config, semi_config):
    def make(method: str, mixed: bool = False, views: int = 1, **settings) -> Config:
        segmentor_config["decode_head"]["dropout_ratio"] = 0
        segmentor_config["auxiliary_head"] = dict(
            segmentor_config["decode_head"], in_index=0, in_channels=4
        )
        preprocessor_config["mix"] = MIXES[mixed]
        preprocessor_config["num_student_views"] = views
        counts = dict(labeled=2, unlabeled=4)
        return Config(
            copy.deepcopy(
                dict(
                    model=dict(
                        type=method,
                        segmentor=segmentor_config,
                        data_preprocessor=preprocessor_config,
                        **settings,
                    ),
                    train_dataloader=dict(
                        batch_size=6,
                        sampler=dict(type="MultiSourceSampler", num_per_source=counts),
                        dataset=semi_config,
                    ),
                    optim_wrapper=OPTIMIZER,
                )
            )
        )

    return make


METHODS = [("Supervised", False), ("CPS", False), ("CPS", True)]
# A threshold that about half of the pixels pass; nothing random in the features.
FIXMATCH = dict(threshold=0.4)
UNIMATCH = dict(threshold=0.4, feature_dropout=0.0)
STEPS = [(method, mixed, 1, {}) for method, mixed in METHODS] + [
    ("MeanTeacher", False, 1, {}),
    ("CutMixMeanTeacher", True, 1, dict(confidence_threshold=0.4)),
    ("FixMatch", "permute", 1, FIXMATCH),
    ("FixMatch", "halves", 2, dict(FIXMATCH, labeled_forward="strong")),
    ("FixMatch", "permute", 1, dict(FIXMATCH, labels_from="student")),
    ("FixMatch", "halves", 1, dict(FIXMATCH, labels_from="student", labeled_forward="weak")),
    ("UniMatch", "permute", 2, UNIMATCH),
    ("UniMatch", "halves", 2, UNIMATCH),
    ("UniMatch", "permute", 2, dict(UNIMATCH, labeled_forward="alone")),
]


def assert_same_steps(config: Config, groups: list[int]) -> None:
    """Two steps of each, with a real learning rate, from the same weights: the same weights."""
    model = build_model(config, torch.device("cpu"))
    twin = copy.deepcopy(model)
    wrapper = build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper))
    other = build_optim_wrapper(twin, copy.deepcopy(config.optim_wrapper))
    floor, note = find_floor(twin, other)
    optimizers = plain_optimizers(other)
    assert note is None and [len(one.param_groups) for one in optimizers] == groups
    batch = make_batch(config, 3)
    for _ in range(2):
        loss = model.train_step(fresh(batch), wrapper)["loss"]
        ready = twin.data_preprocessor(fresh(batch), training=True)
        value = floor(twin, ready["inputs"], ready["data_samples"])
        value.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        torch.testing.assert_close(loss, value)
    for (name, ours), theirs in zip(model.state_dict().items(), twin.state_dict().values()):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(("method", "mixed", "views", "settings"), STEPS)
def test_a_floor_step_is_a_training_step(make_config, method, mixed, views, settings):
    assert_same_steps(make_config(method, mixed, views, semi_train_cfg=settings), groups=[2])


# Every term has a weight that shows, and about half of what is judged passes the threshold.
ADVSEMISEG = dict(unsup_start=0, adv_weight=0.5, unsup_adv_weight=0.7, unsup_weight=0.9)
GANS = {
    "AdvSemiSeg": ("FCDiscriminator", {}, dict(ADVSEMISEG, threshold=0.5)),
    "S4GAN": ("S4GANDiscriminator", dict(dropout=0.0), dict(unsup_start=0, threshold=0.5)),
}


@pytest.fixture
def make_gan_config(make_config):
    def make(method: str, counts: dict, **settings) -> Config:
        kind, options, defaults = GANS[method]
        config = make_config(
            method,
            discriminator=dict(type=kind, base_channels=4, **options),
            semi_train_cfg={**defaults, **settings},
        )
        set_crop(config, 64)  # the verdict on a map is a grid of 2 x 2
        config.train_dataloader.dataset.sources = dict(gt=dict(pool="labeled"))
        config.train_dataloader.sampler.num_per_source = counts
        config.train_dataloader.batch_size = sum(counts.values())
        config.optim_wrapper.update(
            constructor="JointOptimWrapperConstructor",
            # With Adam's usual eps, rounding decides how a parameter without gradient moves.
            discriminator=dict(optimizer=dict(type="Adam", lr=1e-2, eps=1e-3)),
        )
        return config

    return make


@pytest.mark.parametrize(
    ("method", "counts", "settings"),
    [
        ("AdvSemiSeg", dict(labeled=2, unlabeled=4, gt=3), {}),
        ("AdvSemiSeg", dict(labeled=2, unlabeled=4), dict(judge_unlabeled=False)),
        ("AdvSemiSeg", dict(labeled=2, gt=3), {}),
        ("AdvSemiSeg", dict(labeled=2, unlabeled=4), dict(unsup_start=1, unsup_adv_start=1)),
        ("S4GAN", dict(labeled=2, unlabeled=4, gt=3), {}),
        ("S4GAN", dict(labeled=2, unlabeled=4), dict(unsup_start=1)),
    ],
)
def test_so_it_is_with_a_discriminator(make_gan_config, method, counts, settings):
    """All passes of the discriminator, and its own optimiser, are in the floor."""
    assert_same_steps(make_gan_config(method, counts, **settings), groups=[2, 1])


@pytest.mark.parametrize("method", GANS)
def test_results_of_a_method_with_a_discriminator(make_gan_config, method):
    config = make_gan_config(method, dict(labeled=2, unlabeled=2, gt=2))
    results = run_benchmark(config, pairs=2, warmup=1, loader_seconds=0.1, image_hw=(40, 48))
    assert results["loss_difference"] < 1e-5 and results["ratio"]["median"] > 0
    assert set(results["loader"]) == {"labeled", "unlabeled", "gt"}


@pytest.mark.parametrize(("method", "mixed"), METHODS)
def test_results_and_table(make_config, method, mixed):
    config = make_config(method, mixed)
    results = run_benchmark(config, pairs=3, warmup=1, loader_seconds=0.1, image_hw=(40, 48))
    json.dumps(results)
    assert results["mix"] == mixed and results["crop_hw"] == [32, 32]
    assert results["loss_difference"] < 1e-5
    assert results["ratio"]["q1"] <= results["ratio"]["median"] <= results["ratio"]["q3"]
    assert set(results["loader"]) == {"labeled", "unlabeled"}
    text = format_table("name", results)
    assert f"{results['ratio']['median']:.4f}" in text and "images/s per worker" in text
    assert "2 labeled, 4 unlabeled, crop 32x32" in text


def test_the_configs_own_data(make_config):
    results = run_benchmark(
        make_config("CPS", True), pairs=1, warmup=0, data="config", loader_seconds=0.1
    )
    assert results["data"] == "config" and results["loader"]["unlabeled"] > 0


def test_a_method_without_a_floor_gets_its_times(make_config):
    results = run_benchmark(make_config("ToyTeacherStudent"), pairs=1, warmup=0, loader_seconds=0)
    assert results["ratio"] is None and results["step"]["median"] > 0 and results["ema"] > 0
    text = format_table("name", results)
    assert (
        "no floor is known for ToyTeacherStudent, step times only (known: Supervised, CPS, " in text
    )
    assert "teacher EMA" in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(semi_train_cfg=dict(joint_forward=True)), "CPS with joint_forward=True"),
        (dict(optim_wrapper=dict(accumulative_counts=2)), "without accumulation"),
        (dict(optim_wrapper=dict(clip_grad=dict(max_norm=1))), "without accumulation and clipping"),
    ],
)
def test_settings_without_a_floor_say_so(make_config, change, reason):
    config = make_config("CPS", semi_train_cfg=change.get("semi_train_cfg"))
    config.optim_wrapper.update(change.get("optim_wrapper", {}))
    model = MODELS.build(config.model)
    floor, note = find_floor(model, build_optim_wrapper(model, config.optim_wrapper))
    assert floor is None and reason in note


def test_the_batch_is_that_of_the_config_and_stays_fresh(make_config):
    config = make_config("CPS", True)
    batch = make_batch(config, 3)
    sources = [sample.source for sample in batch["data_samples"]]
    assert sources == ["labeled"] * 2 + ["unlabeled"] * 4
    masks = [sample.gt_sem_seg.data for sample in batch["data_samples"][:2]]
    assert all(set(mask.unique().tolist()) == {0, 1, 2, 255} for mask in masks)
    model = MODELS.build(config.model)
    first, second = (model.data_preprocessor(fresh(batch), training=True) for _ in range(2))
    assert torch.equal(first["inputs"]["unsup_student"], second["inputs"]["unsup_student"])
    assert batch["data_samples"][0].gt_sem_seg.data.dtype == torch.uint8


def test_small_parts(make_config):
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == dict(q1=2.0, median=3.0, q3=4.0)
    assert quartiles([7.0])["median"] == statistics.median([7.0])
    config = dict(a=[dict(init_cfg=dict(type="Pretrained", checkpoint="x"), pretrained="y")])
    assert drop_pretrained(config) == dict(a=[dict(init_cfg=None, pretrained=None)])
    config = make_config("CPS")
    set_crop(config, 16)
    assert config.model.data_preprocessor.size == (16, 16)
    for source in ("labeled", "unlabeled"):
        crops = [t for t in config.train_dataloader.dataset[source].pipeline if "Crop" in t["type"]]
        assert [crop["crop_size"] for crop in crops] == [(16, 16)]


def test_command_line(tmp_path, capsys, make_config):
    threads = torch.get_num_threads()
    path = tmp_path / "config.py"
    make_config("CPS", True).dump(path)
    out = tmp_path / "new" / "result.json"
    try:
        code = main([str(path), "--pairs", "2", "--warmup", "0", "--crop", "24", "--out", str(out)])
    finally:
        torch.set_num_threads(threads)
    assert code == 0 and "ratio" in capsys.readouterr().out
    assert json.loads(out.read_text())["crop_hw"] == [24, 24]
    assert main([str(path), "--pairs", "0"]) == 2
    assert "--pairs 0 must be at least 1" in capsys.readouterr().err
    assert main([str(tmp_path / "none.py")]) == 2
    assert main([str(path), "--cfg-options", "modell.type=CPS"]) == 2
    assert "did you mean 'model'" in capsys.readouterr().err
