# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The number is what it says, and training is not touched."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from method_runs import build_runner
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from step_runner import SIZE, NoiseImages, StepRunner, draw_batches
from tiny_nets import CLASSIFIER, FCN
from watchers import assert_equal_states, differing, snapshot

from mmsemi.engine.hooks import BatchNormGapHook
from mmsemi.engine.hooks.batch_norm_gap_hook import KEY, mean_iou, measured_gap
from mmsemi.models.batch_norm import batch_norms
from mmsemi.models.forward import forward

_numbers = itertools.count()


def make_runner(method: str = "Supervised", segmentor: dict = FCN, **settings) -> StepRunner:
    preprocessor = dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE), mean=[120.0], std=[60.0])
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type=method,
            segmentor=copy.deepcopy(segmentor),
            data_preprocessor=preprocessor,
            **settings,
        )
    )
    model.init_weights()
    return StepRunner(model)


def step_and_measure(runner: StepRunner, counts: dict) -> float | None:
    """The number after one step."""
    batch = draw_batches(NoiseImages(), counts, 1)[0]
    runner.step(batch)
    return measure(runner, batch)


def measure(runner: StepRunner, batch: dict) -> float | None:
    BatchNormGapHook().measure(runner, batch)
    found = runner.message_hub.log_scalars.get(KEY)
    return None if found is None else float(found.current())


LABELED, BOTH = dict(labeled=3), dict(labeled=2, unlabeled=4)


def spoil(net: torch.nn.Module) -> None:
    """Running statistics of other images."""
    for norm in batch_norms(net):
        norm.running_mean.add_(3)


def iou_by_hand(logits: torch.Tensor, labels: torch.Tensor) -> float:
    predicted, labels = logits.argmax(1).numpy(), labels.numpy()
    predicted = np.where(labels == 255, 255, predicted)
    present = [c for c in range(3) if (labels == c).any()]
    found = [
        ((predicted == c) & (labels == c)).sum() / ((predicted == c) | (labels == c)).sum()
        for c in present
    ]
    return 100 * float(np.mean(found))


def test_the_number_is_the_difference_of_both_modes():
    runner = make_runner()
    batch = draw_batches(NoiseImages(), LABELED, 1)[0]
    for _ in range(3):
        runner.step(batch)
    spoil(runner.model.student)
    gap = measure(runner, batch)

    net = copy.deepcopy(runner.model.student)
    labeled = runner.model.data_preprocessor(batch, training=True)["inputs"].labeled
    net.decode_head.dropout = None
    with torch.no_grad():
        by_batch = forward(net.train(), labeled.pixels_NCHW).logits_NCHW
        by_running = forward(runner.model.student.eval(), labeled.pixels_NCHW).logits_NCHW
    expected = [iou_by_hand(logits, labeled.labels_NHW) for logits in (by_batch, by_running)]
    assert gap == pytest.approx(expected[0] - expected[1], abs=1e-4)
    assert gap > 1, "the running statistics are wrong, and the weights fit the batch"
    runner.iter -= 1  # as in the iteration that was measured
    assert measured_gap(runner) is None, "a number of another iteration"
    runner.iter += 2
    network, *scores = measured_gap(runner)
    assert network == "student" and scores == pytest.approx(expected, abs=1e-4)


def test_the_network_with_the_largest_number_is_named():
    runner = make_runner("CPS")
    batch = draw_batches(NoiseImages(), BOTH, 1)[0]
    for _ in range(3):
        runner.step(batch)
    numbers = []
    for spoilt in (None, 1):
        if spoilt is not None:
            spoil(runner.model.branches[spoilt])
        numbers.append(measure(runner, batch))
    runner.iter += 1
    assert numbers[1] > numbers[0] and measured_gap(runner)[0] == "1"


def test_nothing_is_changed():
    runner = make_runner("FixMatch", strong=dict(type="StrongPhotometric"))
    batch = draw_batches(NoiseImages(), BOTH, 1)[0]
    runner.step(batch)
    modes = {name: module.training for name, module in runner.model.named_modules()}
    before, state = snapshot(runner.model), torch.get_rng_state()
    assert measure(runner, batch) is not None
    assert not differing(before, snapshot(runner.model))
    assert torch.equal(torch.get_rng_state(), state)
    assert modes == {name: module.training for name, module in runner.model.named_modules()}
    assert all(norm.track_running_stats for norm in batch_norms(runner.model))


GN = dict(type="GN", num_groups=2)
NO_BATCH_NORM = dict(
    FCN,
    backbone=dict(FCN["backbone"], norm_cfg=GN),
    decode_head=dict(FCN["decode_head"], norm_cfg=GN),
)
GN_HEAD = dict(FCN, decode_head=dict(FCN["decode_head"], norm_cfg=GN))


@pytest.mark.parametrize(
    "settings",
    [
        dict(segmentor=NO_BATCH_NORM),
        dict(segmentor=GN_HEAD, backbone_norm_eval=True),
        dict(segmentor=dict(GN_HEAD, backbone=dict(FCN["backbone"], norm_eval=True))),
    ],
)
def test_no_batch_norm_in_train_mode_has_no_number(settings):
    runner = make_runner(**settings)
    runner.model.train()
    assert step_and_measure(runner, LABELED) is None


def test_an_image_classifier_has_no_number():
    preprocessor = dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE))
    model = dict(
        type="MLMTClassifier",
        classifier=copy.deepcopy(CLASSIFIER),
        data_preprocessor=preprocessor,
        epoch_iters=1,
    )
    assert step_and_measure(StepRunner(MODELS.build(model)), BOTH) is None


def test_a_batch_that_cannot_be_normalised_has_no_number():
    head = dict(
        FCN["decode_head"],
        type="PSPHead",
        in_channels=8,
        pool_scales=(1,),
        in_index=1,
    )
    head = {key: value for key, value in head.items() if key != "num_convs"}
    segmentor = dict(FCN, decode_head=head)
    settings = dict(labels_from="student", labeled_forward="weak")
    counts = dict(labeled=1, unlabeled=4)
    assert step_and_measure(make_runner("FixMatch", segmentor, **settings), counts) is None
    assert step_and_measure(make_runner("FixMatch", segmentor, **settings), BOTH) is not None


def test_an_earlier_number_does_not_stand_for_a_validation_without_one():
    runner = make_runner()
    batch = draw_batches(NoiseImages(), LABELED, 1)[0]
    hook = BatchNormGapHook()
    hook.measure(runner, batch)
    runner.step(batch)
    hook.before_val(runner)
    assert KEY in runner.message_hub.log_scalars
    runner.step(batch)
    hook.before_val(runner)
    assert KEY not in runner.message_hub.log_scalars


def test_mean_iou_of_counted_pixels():
    areas = torch.tensor([[3.0, 0.0, 2.0], [6.0, 4.0, 2.0], [5.0, 0.0, 2.0]])
    assert mean_iou(areas) == pytest.approx(100 * (3 / 6 + 2 / 2) / 2)  # class 1 is in no mask
    assert mean_iou(torch.zeros(3, 3)) == 0


# --- In a training --------------------------------------------------------------------------------


@DATASETS.register_module(force=True)
class ValidationImages(NoiseImages):
    """Three of the noise images by their number."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict:
        item = super().__getitem__(SimpleNamespace(index=index, seed=index))
        shape = tuple(item["inputs"].shape[1:])
        item["data_samples"].set_metainfo(dict(ori_shape=shape, img_shape=shape))
        return item


@pytest.fixture
def train(tmp_path):
    """Trains 4 iterations with a validation after each second one."""

    def run(with_hook: bool, **changes) -> Runner:
        number = next(_numbers)
        hooks = dict(batch_norm_gap=dict(type="BatchNormGapHook")) if with_hook else {}
        counts = dict(labeled=2, unlabeled=2)
        runner = build_runner(
            dict(
                default_scope="mmseg",
                model=dict(
                    type="FixMatch",
                    segmentor=copy.deepcopy(FCN),
                    data_preprocessor=dict(type="SemiSegDataPreProcessor", size=(SIZE, SIZE)),
                    strong=dict(type="StrongPhotometric"),
                    threshold=0.3,
                ),
                train_dataloader=dict(
                    batch_size=4,
                    num_workers=0,
                    sampler=dict(type="MultiSourceSampler", num_per_source=counts),
                    dataset=dict(type="NoiseImages"),
                ),
                val_dataloader=dict(
                    batch_size=1,
                    num_workers=0,
                    sampler=dict(type="DefaultSampler", shuffle=False),
                    dataset=dict(type="ValidationImages"),
                ),
                val_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
                train_cfg=dict(type="SemiIterBasedTrainLoop", max_iters=4, val_interval=2),
                val_cfg=dict(type="TeacherStudentValLoop"),
                default_hooks=dict(
                    hooks, checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=2)
                ),
                optim_wrapper=dict(
                    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9)
                ),
                visualizer=dict(
                    type="SegLocalVisualizer",
                    name=f"gap{number}",
                    vis_backends=[dict(type="LocalVisBackend")],
                ),
                log_processor=dict(by_epoch=False),
                randomness=dict(seed=1),
                log_level="ERROR",
                work_dir=str(tmp_path / f"run{number}"),
                experiment_name=f"batch_norm_gap{number}",
                **changes,
            )
        )
        runner.train()
        return runner

    return run


def logged_numbers(runner: Runner) -> list[float]:
    text = (Path(runner.log_dir) / "vis_data" / "scalars.json").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return [line["batch_norm_gap"] for line in lines if "mIoU" in line]


def test_every_validation_logs_it_and_a_run_and_its_resumption_stay_as_they_are(train):
    with_it, without = train(True), train(False)
    assert not differing(snapshot(with_it.model), snapshot(without.model))
    states = [runner.optim_wrapper.state_dict() for runner in (with_it, without)]
    assert_equal_states(*states)
    numbers = logged_numbers(with_it)
    assert len(numbers) == 2 and all(isinstance(number, float) for number in numbers)

    checkpoint = str(Path(with_it.work_dir) / "iter_2.pth")
    resumed = train(True, load_from=checkpoint, resume=True)
    assert not differing(snapshot(with_it.model), snapshot(resumed.model))
    # Its checkpoint was written before the validation of that iteration, which is made up for.
    assert logged_numbers(resumed) == numbers
