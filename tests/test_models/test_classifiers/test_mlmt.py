# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""MLMT: what every method must do, and its step against the reference step.

Known answers: docs/methods/mlmt.md.
"""

from __future__ import annotations

import copy
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from method_runs import build_runner
from method_tester import MethodTester
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from recorded import (
    Recorded,
    assert_state,
    check_step,
    expected_teacher,
    gradients,
    make_recorded,
    total,
)
from reference.mlmt import mlmt_step
from step_runner import StepRunner
from tiny_nets import CLASSIFIER
from torch import Tensor, nn

from mmsemi.errors import CheckpointError, ConfigError, DataError
from mmsemi.evaluation import ScoreTable
from mmsemi.export import export_segmentor


class TestMLMT(MethodTester):
    name = "mlmt"
    # The consistency counts from the first epoch on.
    model = dict(
        type="MLMTClassifier",
        strong=dict(type="StrongPhotometric"),
        epoch_iters=1,
        epochs=8,
        start_epoch=-1,
    )
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_consistency",)
    golden_compared = 6
    maps_are_kept = False  # student and teacher are classifiers, which run as a whole
    test_architecture = None  # those are segmentors

    def model_config(self, segmentor: dict | None = None, **settings) -> dict:
        config = super().model_config(**settings)
        del config["segmentor"]
        return dict(config, classifier=copy.deepcopy(CLASSIFIER))

    def golden_model(self, segmentor: dict) -> dict:
        return dict(self.model, classifier=copy.deepcopy(CLASSIFIER))

    def test_golden_curve(self, segmentor_config, preprocessor_config, semi_config, request):
        semi_config["labeled"]["pipeline"].insert(2, dict(type="AddImageLabels"))
        super().test_golden_curve(segmentor_config, preprocessor_config, semi_config, request)

    def test_export(self, straight, tmp_path):
        """Only segmentors are exported, and the message says what to do instead."""
        with pytest.raises(CheckpointError, match="MLMTClassifier.*ImageLevelMetric"):
            export_segmentor(Path(straight.work_dir) / "iter_4.pth", tmp_path)


@pytest.fixture
def build(preprocessor_config):
    def make(classifier=CLASSIFIER, **settings):
        return MODELS.build(
            dict(
                type="MLMTClassifier",
                classifier=copy.deepcopy(classifier),
                data_preprocessor=preprocessor_config,
                **{"epoch_iters": 2, **settings},
            )
        )

    return make


@pytest.fixture
def step(build):
    """A runner in double precision whose teacher is not the student; its epoch is given."""

    def make(epoch: int, offset: int = 0, **settings) -> StepRunner:
        torch.manual_seed(0)
        model = build(**settings)
        model.init_weights()
        runner = StepRunner(model.double())
        with torch.no_grad():
            for value in model.teacher.module.state_dict().values():
                if value.is_floating_point():
                    value.mul_(1 + 0.2 * torch.rand_like(value))
        runner.iter = 2 * epoch + offset
        runner.message_hub.update_info("iter", runner.iter)
        return runner

    return make


LABELS = ((0, 2), (1,))
TARGET = torch.tensor([[1, 0, 1], [0, 1, 0]], dtype=torch.float64)


def record(labels: tuple = LABELS) -> Recorded:
    """Images with these classes, the second view of the unlabelled ones has other pixels."""
    recorded = make_recorded()
    for sample, classes in zip(recorded.batch.labeled.samples, labels):
        sample.set_metainfo(dict(image_labels=classes, img_path="a.png"))
    return recorded


def scores(net: nn.Module, x: Tensor) -> Tensor:
    """The network in plain torch calls: backbone, mean over the pixels, linear layer."""
    return F.linear(net.backbone(x)[-1].mean((2, 3)), net.head.fc.weight, net.head.fc.bias)


# --- The step -------------------------------------------------------------------------------------


def check(runner: StepRunner, recorded: Recorded, target: Tensor, weight: float) -> dict:
    """The method's step against the reference step; returns its losses."""
    reference, batch = copy.deepcopy(runner.model), recorded.batch
    weak = None if batch.unlabeled is None else batch.unlabeled.pixels_NCHW
    expected = mlmt_step(
        reference.student,
        reference.teacher.module,
        batch.labeled.pixels_NCHW,
        target,
        weak,
        recorded.views[0] if recorded.views else None,
        consistency_weight=weight,
    )
    losses = check_step(runner, recorded, expected, reference)
    assert all(p.grad is None for p in runner.model.teacher.parameters())
    return losses


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize(("epoch", "weight"), [(0, 0), (10, 0), (11, 0.02), (35, 0.5), (60, 1)])
def test_the_step_is_the_reference_step(step, epoch, weight, offset):
    """``epoch_iters`` is 2, both iterations of an epoch have its weight.

    docs/methods/mlmt.md#consistency-and-its-weight
    """
    losses = check(step(epoch, offset), record(), TARGET, weight)
    assert losses["unsup.distance"] > 1e-3
    weighted = losses["unsup.loss_consistency"].detach()
    torch.testing.assert_close(losses["unsup.distance"] * weight, weighted)


def test_a_teacher_in_eval_mode(step):
    """It never sees the labelled images."""
    runner, calls = step(60, teacher_mode="eval", buffers="copy"), []
    runner.model.teacher.module.register_forward_pre_hook(lambda _, args: calls.append(args))
    total(record().loss(runner.model)).backward()
    assert [len(x) for (x,) in calls] == [4]
    check(step(60, teacher_mode="eval", buffers="copy"), record(), TARGET, 1)


def test_the_consistency_alone_trains_through_the_strong_view(step):
    """Before its start the gradient is that of the labelled images; the statistics are the same."""
    models = []
    for epoch in (10, 60):
        models.append(step(epoch).model)
        total(record().loss(models[-1])).backward()
    before, after = map(gradients, models)
    assert any((before[name] - after[name]).abs().max() > 1e-3 for name in before)
    theirs = dict(models[1].named_buffers())
    assert "teacher.module.backbone.bn1.running_mean" in theirs
    for name, value in models[0].named_buffers():
        torch.testing.assert_close(value, theirs[name], msg=name)


def test_batch_statistics_of_both_networks(step):
    """Two forwards each; the teacher's labelled one counts for nothing else.

    docs/methods/mlmt.md#cost-batch-norm-weights
    """
    model = step(0).model
    record().loss(model)
    for net in (model.student, model.teacher.module):
        assert net.backbone.bn1.num_batches_tracked == 2
    assert model.teacher.module.training
    model = step(0, teacher_mode="eval", buffers="copy").model
    before = {name: value.clone() for name, value in model.teacher.named_buffers()}
    record().loss(model)
    assert not model.teacher.module.training
    assert all(torch.equal(v, before[name]) for name, v in model.teacher.named_buffers())


@pytest.mark.parametrize(("mode", "buffers"), [("train", "keep"), ("eval", "ema")])
def test_average_with_its_warm_up(step, mode, buffers):
    """Weights 1/2, 1/3, 1/4 of the new value at steps 1, 2, 3, and no less than 0.001.

    docs/methods/mlmt.md#average-of-the-teacher
    """
    runner = step(0, teacher_mode=mode, buffers=buffers)
    model, (hook,) = runner.model, runner.hooks
    teacher = model.teacher
    assert (teacher.momentum, teacher.warmup, teacher.warmup_start) == (0.001, True, 1)
    for number, weight in ((0, 1 / 2), (1, 1 / 3), (2, 1 / 4), (998, 0.001), (5000, 0.001)):
        teacher.load_state_dict({**teacher.state_dict(), "steps": torch.tensor(number)})
        with torch.no_grad():
            for value in model.student.state_dict().values():
                value.add_(1)
        want = expected_teacher(model.student, teacher.module, weight, buffers)
        hook.after_train_iter(runner, number)
        assert_state(teacher.module, want)


def test_the_teacher_starts_as_the_student(build):
    model = build()
    model.init_weights()
    assert_state(model.teacher.module, model.student.state_dict())


def test_a_batch_without_unlabelled_images(step):
    """It trains the classifier alone; the teacher's statistics move on."""
    recorded = record()
    recorded.batch.unlabeled, recorded.views = None, []
    losses = check(step(60), recorded, TARGET, 1)
    assert set(losses) == {"sup.loss_cls"} and losses["sup.loss_cls"] > 0


def test_images_without_a_label_do_not_count(step):
    """All pixels ignored: which classes there are is unknown."""
    recorded = record(((0, 2), ()))
    unknown = torch.cat([TARGET[:1], torch.zeros(1, 3)])
    loss = check(step(0), recorded, unknown, 0)["sup.loss_cls"]
    logits = scores(step(0).model.student, recorded.batch.labeled.pixels_NCHW)
    want = F.binary_cross_entropy_with_logits(logits[:1], TARGET[:1])
    torch.testing.assert_close(loss, want)
    runner = step(0)
    total(record(((), ())).loss(runner.model)).backward()
    assert all(not g.any() for g in gradients(runner.model).values())


# --- Scores and weights ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_scores_are_those_of_the_network_that_predicts(build, name):
    model = build(predict_on=name)
    model.init_weights()
    with torch.no_grad():
        model.teacher.module.head.fc.bias.fill_(0.3)
    model.eval()
    x = torch.randn(2, 3, 32, 32)
    samples = [SegDataSample(metainfo=dict(img_path=f"{i}.png")) for i in range(2)]
    with torch.no_grad():
        want = scores(model.network(name), x)
        results = model(x, samples, mode="predict")
        torch.testing.assert_close(model(x), want)
        torch.testing.assert_close(model.predict(x)[1].pred_scores, want[1].sigmoid())
    for index, sample in enumerate(results):
        torch.testing.assert_close(sample.pred_scores, want[index].sigmoid())
        assert sample.metainfo["network"] == name
    with model.predicting_on("student"):
        assert model.predict(x)[0].metainfo["network"] == "student"
    with pytest.raises(ValueError, match="mode='train'"):
        model(x, mode="train")


def test_a_plain_classifier_s_checkpoint_fills_both_networks(build):
    source, model = build(), build()
    source.init_weights()
    plain = source.student.state_dict()
    load_state_dict(model, dict(plain), strict=False)
    assert_state(model.student, plain)
    assert_state(model.teacher.module, plain)
    assert model.loaded == dict.fromkeys(("student", "teacher"), (len(plain), len(plain)))


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        dict(epoch_iters=None),
        dict(epoch_iters=0),
        dict(epochs=0),
        dict(teacher_mode="on"),
        dict(buffers="none"),
        dict(momentum=0),
        dict(predict_on="pupil"),
    ],
)
def test_settings_that_no_run_can_mean_are_refused(build, settings):
    name, value = next(iter(settings.items()))
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        build(**settings)


def test_a_teacher_whose_statistics_never_change_is_refused(build):
    with pytest.raises(ConfigError, match="buffers='keep'"):
        build(teacher_mode="eval")


@pytest.mark.parametrize("name", ["epochen", "mix", "num_views"])
def test_settings_that_it_does_not_have_are_refused(build, name):
    with pytest.raises(ConfigError, match=f"MLMTClassifier .*'{name}'"):
        build(**{name: 2})


def test_a_head_without_classes_is_refused(build):
    classifier = dict(CLASSIFIER, head=dict(type="MultiLabelClsHead"))
    with pytest.raises(ConfigError, match=r"MultiLabelClsHead .*model\.classifier\.head"):
        build(classifier)


def test_it_refuses_to_train_without_its_hook(build):
    with pytest.raises(ConfigError, match="MLMTClassifier .*MeanTeacherHook"):
        record().loss(build())


def test_missing_weights_name_the_classifier(build, monkeypatch):
    classifier = copy.deepcopy(CLASSIFIER)
    classifier["backbone"]["init_cfg"] = dict(
        type="Pretrained", checkpoint="torchvision://resnet101"
    )

    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("mmengine.runner.checkpoint.load_url", offline)
    with pytest.raises(CheckpointError, match=r"model\.classifier\.backbone\.init_cfg=None"):
        build(classifier).init_weights()


# --- From training to the score table -------------------------------------------------------------


def test_training_and_test_write_the_scores(tmp_path, semi_config, val_config, monkeypatch):
    """Both name the network and the split of the training; a test reads it from the checkpoint."""
    # Slow and not looked at here: one formats Python code, the other starts git.
    monkeypatch.setattr(Runner, "dump_config", lambda self: None)
    monkeypatch.setattr("mmengine.runner.runner.get_git_hash", lambda: "")
    semi_config["labeled"]["pipeline"].insert(2, dict(type="AddImageLabels"))
    tester = TestMLMT()
    config = tester.runner_config(tmp_path, max_iters=2)
    config["train_dataloader"]["dataset"] = semi_config
    loader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=val_config,
    )
    for part in ("val", "test"):
        metric = dict(type="ImageLevelMetric", out_file=str(tmp_path / f"{part}.npz"))
        config.update({f"{part}_dataloader": loader, f"{part}_evaluator": metric})
    config.update(val_cfg=dict(type="TeacherStudentValLoop"), test_cfg=dict(type="TestLoop"))
    config["default_hooks"]["checkpoint"]["save_best"] = "mAP"
    config["train_cfg"]["val_interval"] = 2

    runner = build_runner(config)
    runner.train()
    split = runner.train_loop.dataloader.dataset.split_info
    tables = [ScoreTable.load(tmp_path / f"val{end}.npz") for end in ("", "_student")]
    assert [table.network for table in tables] == ["teacher", "student"]
    assert all(set(table.scores) == {"v00", "v01", "v02"} for table in tables)
    assert all(table.split == split for table in tables)
    assert (tmp_path / "best_mAP_iter_2.pth").is_file()

    config.update(load_from=str(tmp_path / "iter_2.pth"), experiment_name="test_of_mlmt")
    runner = build_runner(config)
    metrics = runner.test()
    assert 0 < metrics["mAP"] <= 100
    table = ScoreTable.load(tmp_path / "test.npz")
    assert table.split == split and table.network == "teacher"
    for name, row in tables[0].scores.items():
        assert (table.scores[name] == row).all() and (tables[1].scores[name] != row).any()


def test_wrong_number_of_classes_names_the_setting(tmp_path):
    config = TestMLMT().runner_config(tmp_path)
    config["model"]["classifier"]["head"]["num_classes"] = 5
    with pytest.raises(DataError, match=r"3 .* 5 .*model\.classifier\.head\.num_classes=3"):
        build_runner(config).train()
