# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The reference computes the step's loss, and what is printed is what was measured."""

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

from benchmarks.batches import fresh, make_batch, set_crop
from benchmarks.draws import Draws
from benchmarks.measure import build_model, drop_pretrained, run_benchmark
from benchmarks.reference_steps import plain_optimizers, reference_step, why_no_reference
from benchmarks.step_time import format_table, main
from benchmarks.timing import quartiles
from mmsemi.errors import ConfigError
from mmsemi.models import MLMTClassifier

OPTIMIZER = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=1e-3),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
CUTMIX = dict(type="CutMix")
PERMUTE = dict(type="SingleBoxCutMix", pairing="permute", prob=1.0)
HALVES = dict(type="SingleBoxCutMix", pairing="halves", prob=1.0)
STRONG = dict(type="StrongPhotometric")


@pytest.fixture
def make_config(segmentor_config, preprocessor_config, semi_config):
    def make(method: str, **settings) -> Config:
        segmentor_config["auxiliary_head"] = dict(
            segmentor_config["decode_head"], in_index=0, in_channels=4
        )
        model = dict(
            type=method,
            segmentor=segmentor_config,
            data_preprocessor=preprocessor_config,
            **settings,
        )
        counts = dict(labeled=2, unlabeled=4)
        if method == "SelfTraining":
            counts = dict(labeled=2, pseudo=4)
            semi_config["sources"] = dict(pseudo=dict(pool="labeled"))
        if method == "CAC":
            semi_config["unlabeled"]["pipeline"][2:4] = [dict(type="OverlappingCropPair")]
        loader = dict(
            batch_size=6,
            sampler=dict(type="MultiSourceSampler", num_per_source=counts),
            dataset=semi_config,
        )
        config = dict(model=model, train_dataloader=loader, optim_wrapper=OPTIMIZER)
        return Config(copy.deepcopy(config))

    return make


# A threshold that about half of the pixels pass.
FIXMATCH = dict(threshold=0.36, strong=STRONG)
UNIMATCH = dict(threshold=0.36, strong=STRONG)
AUGSEG = dict(threshold=0.36, strong=dict(type="RandomIntensity"))
STUDENT = dict(FIXMATCH, labels_from="student")
PREVIOUS = dict(previous_threshold=0.36, previous_curve="constant", num_networks=3)
U2PL = dict(
    mix=dict(type="HalfCutMix", prob=1.0), total_iters=100, low_rank=1, bank_dtype="float32"
)
U2PL |= dict(num_keys=12, bank_size=40, first_bank_size=60, representation_channels=8)
STEPS = [
    ("Supervised", {}),
    ("CPS", {}),
    ("CPS", dict(mix=CUTMIX)),
    ("CPS", dict(mix=dict(type="ClassMix"), joint_forward=True, ignore_padding=True)),
    ("MeanTeacher", {}),
    ("MeanTeacher", dict(mix=CUTMIX, consistency="kl", confidence_threshold=0.36)),
    ("CutMixMeanTeacher", dict(mix=CUTMIX, confidence_threshold=0.36)),
    ("CutMixMeanTeacher", dict(mix=CUTMIX, consistency="bce")),
    ("FixMatch", dict(FIXMATCH, mix=PERMUTE)),
    ("FixMatch", dict(FIXMATCH, mix=HALVES, num_views=2, labeled_forward="strong")),
    ("FixMatch", dict(STUDENT, mix=PERMUTE)),
    ("FixMatch", dict(STUDENT, mix=HALVES, labeled_forward="weak", pasted_mode="train")),
    ("AugSeg", dict(AUGSEG, mix=dict(type="LabelPaste", paste_prob=1))),
    ("AugSeg", dict(AUGSEG, labeled_forward="alone", ignore_padding=True)),
    ("CAC", dict(threshold=0.36, strong=STRONG, step_save=1, ignore_padding=True)),
    ("UniMatch", dict(UNIMATCH, mix=PERMUTE)),
    ("UniMatch", dict(UNIMATCH, mix=HALVES, joint_decoder=True)),
    ("UniMatch", dict(UNIMATCH, mix=PERMUTE, labeled_forward="alone")),
    ("UniMatchV2", dict(UNIMATCH, mix=PERMUTE)),
    ("UniMatchV2", dict(UNIMATCH, mix=HALVES, labeled_forward="strong", kept_pairs=1.0)),
    ("PrevMatch", dict(UNIMATCH, mix=PERMUTE, **PREVIOUS)),
    ("PrevFixMatch", dict(FIXMATCH, mix=HALVES, **PREVIOUS)),
    ("U2PL", U2PL),
    ("U2PL", dict(U2PL, labeled_forward="alone", unreliable_percent=40.0)),
    ("SelfTraining", {}),
    ("SelfTraining", dict(strong=STRONG, cutout=dict(type="Cutout"))),
    ("SelfTraining", dict(weight=dict(type="DynamicWeight", gamma=2))),
    ("SelfTraining", dict(weight=dict(type="StoredWeight", gamma=2))),
    ("SelfTraining", dict(weight=dict(type="MutualWeight", gamma1=2, gamma2=3))),
]


def assert_same_steps(config: Config, groups: list[int], steps: int = 2) -> None:
    """Some steps of each, with a real learning rate, from the same weights: the same weights."""
    model = build_model(config, torch.device("cpu"))
    twin = copy.deepcopy(model)
    wrapper = build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper))
    other = build_optim_wrapper(twin, copy.deepcopy(config.optim_wrapper))
    optimizers = plain_optimizers(other)
    assert why_no_reference(twin, other) is None
    assert [len(one.param_groups) for one in optimizers] == groups
    batch, draws = make_batch(config, 3), Draws()
    for number in range(steps):
        ready = model.data_preprocessor(fresh(batch), training=True)["inputs"]
        spare = copy.deepcopy(model)
        with draws.recorded_from(spare):
            spare(ready, mode="loss")
        torch.manual_seed(number)  # of dropout in the networks
        with draws.played_to(model):
            loss = model.train_step(fresh(batch), wrapper)["loss"]
        torch.manual_seed(number)
        value = sum(reference_step(twin, ready, draws).values())
        value.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        torch.testing.assert_close(loss, value)
    for (name, ours), theirs in zip(model.state_dict().items(), twin.state_dict().values()):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(("method", "settings"), STEPS)
def test_a_reference_step_is_a_training_step(make_config, method, settings):
    # From the second step on weights differ in their last bits, which decide about the pixel at U2PL's
    # percentile. Its own test takes five steps in double precision.
    steps = 1 if method == "U2PL" else 2
    assert_same_steps(make_config(method, **settings), groups=[2], steps=steps)


# Every term has a weight that shows, and about half of what is judged passes the threshold.
ADVSEMISEG = dict(unsup_start=0, adv_weight=0.5, unsup_adv_weight=0.7, unsup_weight=0.9)
GANS = {
    "AdvSemiSeg": ("FCDiscriminator", dict(ADVSEMISEG, threshold=0.5)),
    "S4GAN": ("S4GANDiscriminator", dict(unsup_start=0, threshold=0.5)),
}


@pytest.fixture
def make_gan_config(make_config):
    def make(method: str, counts: dict, **settings) -> Config:
        kind, defaults = GANS[method]
        discriminator = dict(type=kind, base_channels=4)
        config = make_config(method, discriminator=discriminator, **{**defaults, **settings})
        set_crop(config, 64)  # the discriminator's logits of a map are a grid of 2 x 2
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
        ("AdvSemiSeg", dict(labeled=2, unlabeled=4, gt=3), dict(strong=STRONG)),
        ("AdvSemiSeg", dict(labeled=2, unlabeled=4), dict(judge_unlabeled=False)),
        ("AdvSemiSeg", dict(labeled=2, gt=3), {}),
        ("AdvSemiSeg", dict(labeled=2, unlabeled=4), dict(unsup_start=1, unsup_adv_start=1)),
        ("S4GAN", dict(labeled=2, unlabeled=4, gt=3), dict(strong=STRONG, score_mode="eval")),
        ("S4GAN", dict(labeled=2, unlabeled=4), dict(unsup_start=1)),
    ],
)
def test_so_it_is_with_a_discriminator(make_gan_config, method, counts, settings):
    """All passes of the discriminator, and its own optimiser, are in the reference."""
    assert_same_steps(make_gan_config(method, counts, **settings), groups=[2, 1])


@pytest.mark.parametrize("mode", [dict(), dict(teacher_mode="eval", buffers="copy")])
def test_so_it_is_with_a_classifier(make_config, monkeypatch, mode):
    monkeypatch.setattr(MLMTClassifier, "iteration", lambda self: 1)
    config = make_config("MLMTClassifier", epoch_iters=1, epochs=4, start_epoch=0, **mode)
    del config.model["segmentor"]
    norm = dict(type="BN", requires_grad=True)
    config.model.classifier = dict(
        type="ImageClassifier",
        backbone=dict(type="ResNet", depth=18, base_channels=4, stem_channels=4, norm_cfg=norm),
        neck=dict(type="GlobalAveragePooling"),
        head=dict(type="MultiLabelLinearClsHead", num_classes=3, in_channels=32),
    )
    assert_same_steps(config, groups=[2])


@pytest.mark.parametrize("method", GANS)
def test_results_of_a_method_with_a_discriminator(make_gan_config, method):
    config = make_gan_config(method, dict(labeled=2, unlabeled=2, gt=2))
    results = run_benchmark(config, pairs=2, warmup=1, loader_seconds=0.1, image_hw=(40, 48))
    assert results["loss_difference"] < 1e-5 and results["ratio"]["median"] > 0
    assert set(results["loader"]) == {"labeled", "unlabeled", "gt"}


@pytest.mark.parametrize("settings", [{}, dict(mix=CUTMIX)])
def test_results_and_table(make_config, settings):
    config = make_config("CPS", **settings)
    results = run_benchmark(config, pairs=3, warmup=1, loader_seconds=0.1, image_hw=(40, 48))
    json.dumps(results)
    assert results["mix"] == bool(settings) and results["crop_hw"] == [32, 32]
    assert results["loss_difference"] < 1e-5
    assert results["ratio"]["q1"] <= results["ratio"]["median"] <= results["ratio"]["q3"]
    assert results["draws"] >= 0  # seconds; with nothing to draw a loaded machine still takes some
    assert set(results["loader"]) == {"labeled", "unlabeled"}
    text = format_table("name", results)
    assert f"{results['ratio']['median']:.4f}" in text and "images/s per worker" in text
    assert "2 labeled, 4 unlabeled, crop 32x32" in text


def test_a_reference_of_another_loss_gives_no_ratio(make_config, monkeypatch):
    monkeypatch.setattr(
        "benchmarks.measure.reference_step",
        lambda *args: {"sup": 1.01 * reference_step(*args)["sup"]},
    )
    results = run_benchmark(make_config("Supervised"), pairs=1, warmup=0, loader_seconds=0)
    assert results["loss_difference"] == pytest.approx(0.01 / 1.01, rel=1e-3)
    assert results["ratio"] is None and results["note"] in format_table("name", results)


def test_the_configs_own_data(make_config):
    config = make_config("CPS", mix=CUTMIX)
    results = run_benchmark(config, pairs=1, warmup=0, data="config", loader_seconds=0.1)
    assert results["data"] == "config" and results["loader"]["unlabeled"] > 0


def test_a_method_without_a_reference_gets_its_times(make_config):
    results = run_benchmark(make_config("ToyTeacherStudent"), pairs=1, warmup=0, loader_seconds=0)
    assert results["ratio"] is None and results["step"]["median"] > 0 and results["ema"] > 0
    text = format_table("name", results)
    assert "ToyTeacherStudent" in results["note"] and results["note"] in text
    assert "teacher EMA" in text


def test_step_and_reference_start_from_the_same(make_config):
    """A step moves the teacher's statistics, by which the next one labels, and fills rings."""
    results = run_benchmark(make_config("U2PL", **U2PL), pairs=3, warmup=1, loader_seconds=0)
    assert results["loss_difference"] < 1e-5 and results["ratio"]["median"] > 0


FLIPPED = dict(type="MutualWeight", gamma1=2, gamma2=3, flip_won=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(optim_wrapper=dict(accumulative_counts=2)), "optim_wrapper"),
        (dict(optim_wrapper=dict(clip_grad=dict(max_norm=1))), "optim_wrapper"),
        (dict(model=dict(mix=dict(type="LabelPaste"))), "LabelPaste"),
        (dict(model=dict(type="SelfTraining", weight=FLIPPED)), "flip_won"),
    ],
)
def test_settings_without_a_reference_say_so(make_config, change, reason):
    config = make_config("CPS")
    config.merge_from_dict(change)
    model = MODELS.build(config.model)
    assert reason in why_no_reference(model, build_optim_wrapper(model, config.optim_wrapper))


def test_the_batch_is_that_of_the_config_and_stays_fresh(make_config):
    config = make_config("CPS")
    batch = make_batch(config, 3)
    sources = [sample.source for sample in batch["data_samples"]]
    assert sources == ["labeled"] * 2 + ["unlabeled"] * 4
    masks = [sample.gt_sem_seg.data for sample in batch["data_samples"][:2]]
    assert all(set(mask.unique().tolist()) == {0, 1, 2, 255} for mask in masks)
    model = MODELS.build(config.model)
    first, second = (
        model.data_preprocessor(fresh(batch), training=True)["inputs"] for _ in range(2)
    )
    assert torch.equal(first.unlabeled.pixels_NCHW, second.unlabeled.pixels_NCHW)
    assert batch["data_samples"][0].gt_sem_seg.data.dtype == torch.uint8


def test_small_parts(make_config):
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == dict(q1=2.0, median=3.0, q3=4.0)
    assert quartiles([7.0])["median"] == statistics.median([7.0])
    config = dict(a=[dict(init_cfg=dict(type="Pretrained", checkpoint="x"), pretrained="y")])
    assert drop_pretrained(config) == dict(a=[dict(init_cfg=None, pretrained=None)])
    config = make_config("CPS")
    set_crop(config, 16)
    assert config.model.data_preprocessor.size == (16, 16)
    assert config.train_dataloader.dataset.crop_size == (16, 16)


def test_command_line(tmp_path, capsys, make_config):
    threads = torch.get_num_threads()
    path = tmp_path / "config.py"
    make_config("CPS", mix=CUTMIX).dump(path)
    out = tmp_path / "new" / "result.json"
    arguments = ["--pairs", "2", "--warmup", "0", "--crop", "24", "--loader-seconds", "0.1"]
    try:
        code = main([str(path), *arguments, "--out", str(out)])
    finally:
        torch.set_num_threads(threads)
    assert code == 0 and "ratio" in capsys.readouterr().out
    assert json.loads(out.read_text())["crop_hw"] == [24, 24]


@pytest.mark.parametrize(
    ("arguments", "value"), [(["--pairs", "0"], "0"), (["--device", "toaster"], "toaster")]
)
def test_wrong_arguments_are_refused(arguments, value, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["config.py", *arguments])
    assert stopped.value.code == 2 and value in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "value"),
    [(["none.py"], "none.py"), (["cps/shapes_1-8", "--cfg-options", "modell.type=CPS"], "modell")],
)
def test_wrong_configs_are_refused(arguments, value):
    with pytest.raises(ConfigError, match=value):
        main(arguments)
