# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""MLMT: what every method must do, and its step against one written out by hand.

Numbers of known answers and sections are those of methods/s4gan_mlmt.md.
"""

from __future__ import annotations

import copy
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from hand_step import assert_same_step, assert_state, expected_teacher, gradients, make_batch, total
from method_tester import MethodTester, build_runner
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from step_runner import CLASSES, StepRunner

from mmsemi.evaluation import ScoreTable
from mmsemi.export import export_segmentor

CLASSIFIER = dict(
    type="mmpretrain.ImageClassifier",
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=4,
        stem_channels=4,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(1,),
        norm_cfg=dict(type="BN", requires_grad=True),
        zero_init_residual=False,
    ),
    neck=dict(type="GlobalAveragePooling"),
    # With mmpretrain's 0.01 all images have nearly the same scores.
    head=dict(
        type="MultiLabelLinearClsHead",
        num_classes=len(CLASSES),
        in_channels=8,
        init_cfg=dict(type="Normal", layer="Linear", std=1.0),
    ),
)


class TestMLMT(MethodTester):
    name = "mlmt"
    # The consistency counts from the first epoch on.
    model = dict(
        type="MLMTClassifier",
        semi_train_cfg=dict(epoch_iters=1, epochs=8, start_epoch=-1),
    )
    preprocessor = dict(strong=dict(type="StrongPhotometric"))
    networks = ["student", "teacher"]
    predict_on = "teacher"
    unsup_losses = ("unsup.loss_consistency",)
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
        with pytest.raises(ValueError, match="only segmentors are exported: its scores leave it"):
            export_segmentor(Path(straight.work_dir) / "iter_4.pth", tmp_path)


@pytest.fixture
def build(preprocessor_config):
    def make(classifier=CLASSIFIER, preprocessor=None, predict_on=None, **settings):
        return MODELS.build(
            dict(
                type="MLMTClassifier",
                classifier=copy.deepcopy(classifier),
                data_preprocessor={**preprocessor_config, **(preprocessor or {})},
                semi_train_cfg={"epoch_iters": 2, **settings},
                semi_test_cfg=dict(predict_on=predict_on),
            )
        )

    return make


@pytest.fixture
def step(build):
    """A runner in double precision whose teacher is not the student; its epoch is given."""

    def make(epoch: int, **settings) -> StepRunner:
        torch.manual_seed(0)
        model = build(**settings)
        model.init_weights()
        runner = StepRunner(model.double())
        with torch.no_grad():
            for value in model.teacher.state_dict().values():
                if value.is_floating_point():
                    value.mul_(1 + 0.2 * torch.rand_like(value))
        runner.iter = 2 * epoch
        runner.message_hub.update_info("iter", runner.iter)
        return runner

    return make


LABELS = ((0, 2), (1,))
TARGET = torch.tensor([[1, 0, 1], [0, 1, 0]], dtype=torch.float64)


def labelled_batch(labels=LABELS):
    inputs, samples = make_batch()
    for sample, classes in zip(samples["sup"], labels):
        sample.set_metainfo(dict(image_labels=classes, img_path="a.png"))
    return inputs, samples


def scores(net, x):
    """The network in plain torch calls: backbone, mean over the pixels, linear layer."""
    return F.linear(net.backbone(x)[-1].mean((2, 3)), net.head.fc.weight, net.head.fc.bias)


def step_by_hand(model, inputs, weight):
    """Section 2b, steps 1 to 3."""
    p = scores(model.student, inputs["sup"]).sigmoid()
    l_cls = -(TARGET * p.log() + (1 - TARGET) * (1 - p).log()).sum() / 6
    with torch.no_grad():
        scores(model.teacher, inputs["sup"])  # for its statistics
        belief = scores(model.teacher, inputs["unsup_teacher"])
    z = scores(model.student, inputs["unsup_student"])
    cosine = (z * belief).sum(1) / (z.norm(dim=1) * belief.norm(dim=1))
    return l_cls, weight * (1 - cosine).sum() / len(z)


@pytest.mark.parametrize(("epoch", "weight"), [(0, 0), (10, 0), (11, 0.02), (35, 0.5), (60, 1)])
def test_step_equals_the_one_written_out(step, epoch, weight):
    """With the weights of K6: ``epoch_iters`` is 2, both iterations of an epoch have its weight."""
    inputs, samples = labelled_batch()
    for offset in (0, 1):
        runner = step(epoch)
        runner.message_hub.update_info("iter", 2 * epoch + offset)
        model, reference = runner.model, copy.deepcopy(runner.model)
        losses = model.loss(inputs, samples)
        l_cls, l_cons = step_by_hand(reference, inputs, weight)
        torch.testing.assert_close(losses["sup.loss_cls"], l_cls)
        torch.testing.assert_close(losses["unsup.loss_consistency"], l_cons)
        total(losses).backward()
        (l_cls + l_cons).backward()
        assert_same_step(model, reference)
        assert all(p.grad is None for p in model.teacher.parameters())
        if weight == 0.5:
            torch.testing.assert_close(losses["unsup.distance"], l_cons / weight)
            assert l_cons > 1e-3


def test_the_consistency_alone_trains_through_the_strong_view(step):
    """Before its start the gradient is that of the labelled images; the statistics are the same."""
    inputs, samples = labelled_batch()
    models = []
    for epoch in (10, 60):
        models.append(step(epoch).model)
        total(models[-1].loss(inputs, samples)).backward()
    before, after = map(gradients, models)
    assert any((before[name] - after[name]).abs().max() > 1e-3 for name in before)
    theirs = dict(models[1].named_buffers())
    assert "teacher.backbone.bn1.running_mean" in theirs
    for name, value in models[0].named_buffers():
        torch.testing.assert_close(value, theirs[name], msg=name)


def test_batch_statistics_of_both_networks(step):
    """Section 2b: two forwards each; the teacher's labelled one counts for nothing else (M3)."""
    inputs, samples = labelled_batch()
    runner = step(0)
    runner.model.loss(inputs, samples)
    for net in (runner.model.student, runner.model.teacher):
        assert net.backbone.bn1.num_batches_tracked == 2
    assert runner.model.teacher.training
    runner = step(0, teacher_mode="eval", buffers="copy")
    before = {name: value.clone() for name, value in runner.model.teacher.named_buffers()}
    runner.model.loss(inputs, samples)
    assert not runner.model.teacher.training
    assert all(torch.equal(v, before[name]) for name, v in runner.model.teacher.named_buffers())


@pytest.mark.parametrize(("mode", "buffers"), [("train", "keep"), ("eval", "ema")])
def test_average_with_its_warm_up(step, mode, buffers):
    """K7: weights 1/2, 1/3, 1/4 of the new value at steps 1, 2, 3, and no less than 0.001."""
    runner = step(0, teacher_mode=mode, buffers=buffers)
    model, (hook,) = runner.model, runner.hooks
    assert (hook.momentum, hook.warmup, hook.warmup_start) == (0.001, True, 1)
    for number, weight in ((0, 1 / 2), (1, 1 / 3), (2, 1 / 4), (998, 0.001), (5000, 0.001)):
        runner.message_hub.update_info("mean_teacher_steps", number)
        with torch.no_grad():
            for value in model.student.state_dict().values():
                value.add_(1)
        want = expected_teacher(model.student, model.teacher, weight, buffers)
        hook.after_train_iter(runner, number)
        assert_state(model.teacher, want)


def test_the_teacher_starts_as_the_student(build):
    model = build()
    model.init_weights()
    assert_state(model.teacher, model.student.state_dict())


def test_a_batch_without_unlabelled_images(step):
    """M6: ratio 1 trains the classifier alone."""
    inputs, samples = labelled_batch()
    runner = step(60)
    losses = runner.model.loss(dict(sup=inputs["sup"]), dict(sup=samples["sup"]))
    assert set(losses) == {"sup.loss_cls"} and losses["sup.loss_cls"] > 0


def test_images_without_a_label_do_not_count(step):
    """All pixels ignored: which classes there are is unknown."""
    inputs, samples = labelled_batch(((0, 2), ()))
    loss = step(0).model.loss(inputs, samples)["sup.loss_cls"]
    logits = scores(step(0).model.student, inputs["sup"])
    want = F.binary_cross_entropy_with_logits(logits[:1], TARGET[:1])
    torch.testing.assert_close(loss, want)
    inputs, samples = labelled_batch(((), ()))
    runner = step(0)
    total(runner.model.loss(inputs, samples)).backward()
    assert all(not g.any() for g in gradients(runner.model).values())


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_scores_are_those_of_the_network_that_predicts(build, name):
    model = build(predict_on=name)
    model.init_weights()
    with torch.no_grad():
        model.teacher.head.fc.bias.fill_(0.3)
    model.eval()
    x = torch.randn(2, 3, 32, 32)
    samples = [SegDataSample(metainfo=dict(img_path=f"{i}.png")) for i in range(2)]
    with torch.no_grad():
        want = scores(getattr(model, name), x)
        results = model(x, samples, mode="predict")
        torch.testing.assert_close(model(x), want)
        torch.testing.assert_close(model.predict(x)[1].pred_scores, want[1].sigmoid())
    for index, sample in enumerate(results):
        torch.testing.assert_close(sample.pred_scores, want[index].sigmoid())
        assert sample.metainfo["network"] == name
    with model.predicting_on("student"):
        assert model.predict(x)[0].metainfo["network"] == "student"
    with pytest.raises(ValueError, match="mode='train' is none of"):
        model(x, mode="train")


def test_a_plain_classifier_s_checkpoint_fills_both_networks(build):
    source, model = build(), build()
    source.init_weights()
    plain = source.student.state_dict()
    load_state_dict(model, dict(plain), strict=False)
    assert_state(model.student, plain)
    assert_state(model.teacher, plain)


# --- Messages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            dict(epoch_iters=None),
            "epoch_iters=None, epochs=100: set epoch_iters to labelled images",
        ),
        (dict(epoch_iters=0), "epoch_iters=0"),
        (dict(epochs=0), "epochs=0"),
        (dict(teacher_mode="eval"), "teacher_mode='eval' with buffers='keep' leaves the teacher's"),
        (dict(teacher_mode="on"), "teacher_mode='on' is none of 'train', 'eval'"),
        (dict(buffers="none"), "buffers='none' is none of 'keep', 'copy', 'ema'"),
        (dict(epochen=3), "unknown key 'epochen' in MLMTClassifier.semi_train_cfg"),
        (dict(preprocessor=dict(mix=dict(type="CutMix"))), "remove data_preprocessor.mix"),
        (
            dict(preprocessor=dict(num_student_views=2, strong=dict(type="StrongPhotometric"))),
            "MLMTClassifier takes one student view",
        ),
    ],
)
def test_settings_that_do_not_work_are_refused(build, settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_a_head_without_classes_is_refused(build):
    classifier = dict(CLASSIFIER, head=dict(type="MultiLabelClsHead"))
    with pytest.raises(TypeError, match="MultiLabelClsHead has no num_classes: set model.classifi"):
        build(classifier)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "'a.png' came without image_labels: put dict.type='AddImageLabels'"),
        (
            (1, 7),
            "'a.png' has the class 7, the classifier has 3 classes: set model.classifier.head",
        ),
    ],
)
def test_wrong_image_labels_name_the_image(step, labels, message):
    inputs, samples = labelled_batch((labels, (0,)))
    with pytest.raises(ValueError, match=message):
        step(0).model.loss(inputs, samples)


def test_it_refuses_to_train_without_its_hook(build):
    with pytest.raises(RuntimeError, match="has a teacher but no MeanTeacherHook"):
        build().loss(*labelled_batch())


def test_missing_weights_name_the_classifier(build, monkeypatch):
    classifier = copy.deepcopy(CLASSIFIER)
    classifier["backbone"]["init_cfg"] = dict(
        type="Pretrained", checkpoint="torchvision://resnet101"
    )

    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("mmengine.runner.checkpoint.load_url", offline)
    with pytest.raises(FileNotFoundError, match="model.classifier.backbone.init_cfg=None"):
        build(classifier).init_weights()


# --- From training to the score table -----------------------------------------------------------


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
    with pytest.raises(
        ValueError, match=r"3 classes, the head 5: set model.classifier.head.num_cl"
    ):
        build_runner(config).train()
