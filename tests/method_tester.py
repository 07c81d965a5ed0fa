# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What every method must do, as tests to inherit.

    class TestFixMatch(MethodTester):
        name = "fixmatch"
        model = dict(type="FixMatch", threshold=0.4, strong=dict(type="StrongPhotometric"))
        networks = ["student", "teacher"]

Two trainings through the Runner are shared by the tests of a class; other tests call single training
steps. The golden curve of a method is ``tests/golden/<name>.json``, written by
``pytest <its test file> -k golden --write-golden``.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from method_runs import GOLDEN_ITERATIONS, build_optimizers, build_runner, golden_curve, train_rank
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmseg.registry import DATASETS, MODELS
from step_runner import SIZE, StepRunner, draw_batches
from tiny_nets import ARCHITECTURES, FCN, initial
from watchers import (
    Recorder,
    Waits,
    assert_equal_states,
    differing,
    is_statistic,
    record_inputs,
    snapshot,
    statistics_of,
    without_modes,
)

from mmsemi.errors import ConfigError
from mmsemi.export import export_segmentor
from mmsemi.models import SemiSegmentor
from mmsemi.models.label_counts import LabelCounts

GOLDEN = Path(__file__).parent / "golden"
# With fewer than this of a relative difference two runs have the same losses.
GOLDEN_RTOL, BF16_RTOL = 1e-3, 5e-2
MOST_SCALARS = 8

_counter = itertools.count()


class MethodTester:
    """Tests of one setting of one method.

    Attributes:
        name: Name of the golden curve.
        model: ``type`` and settings; without segmentor and preprocessor. They should let the
            unsupervised loss of a random net be more than 0.
        counts: Images of each source in a batch.
        networks: Expected ``network_names``.
        predict_on: The network that predicts by default.
        unsup_losses: Keys of the unsupervised losses, which must be more than 0.
        dataset: Config of the data set of the trainings.
        heads: Parts of the model besides the networks that the segmentor's optimiser trains.
        optim_wrapper: Keys added to ``optim_wrapper``: the constructor, and the optimisers of parts
            of the model besides the networks.
        golden_std: Deviation of the classifier's weights of the golden curve.
        views_alone: Settings by which no other image shares the forward of the student's views.
        frozen_settings: Settings by which no two views that a frozen encoder maps are equal.
        labels_images: Whether a step has pseudo-labels.
        maps_are_kept: Whether networks share the maps of a view that they both see.
        golden_compared: Its iterations that are compared; later ones of some methods amplify the last
            bits, in which CPUs differ.
    """

    name = ""
    model: dict = {}
    counts = dict(labeled=2, unlabeled=4)
    networks: list = ["student"]
    predict_on: Any = "student"
    unsup_losses: tuple[str, ...] = ()
    dataset: dict = dict(type="NoiseImages")
    heads: tuple[str, ...] = ()
    optim_wrapper: dict = {}
    views_alone: dict = {}
    frozen_settings: dict = {}
    labels_images = True
    maps_are_kept = True
    golden_std = 1.0
    golden_compared = GOLDEN_ITERATIONS

    @property
    def parts(self) -> list[str]:
        """Parts of the model with an optimiser of their own."""
        return [name for name in self.optim_wrapper if name != "constructor"]

    # ---------------------------------------------------------------- building

    def model_config(self, segmentor: dict = FCN, **settings) -> dict:
        config = copy.deepcopy(dict(self.model, segmentor=segmentor, **settings))
        config["data_preprocessor"] = dict(
            type="SemiSegDataPreProcessor",
            size=(SIZE, SIZE),
            mean=[120.0, 110.0, 100.0],
            std=[60.0, 55.0, 50.0],
            bgr_to_rgb=True,
        )
        return config

    def golden_model(self, segmentor: dict) -> dict:
        segmentor["decode_head"]["init_cfg"] = initial(self.golden_std)
        return dict(self.model, segmentor=segmentor)

    def golden_data(self, dataset: dict) -> dict:
        """The data set on disk of the golden curve."""
        if "gt" in self.counts:
            dataset["sources"] = dict(gt=dict(pool="labeled"))
        return dataset

    def runner_config(self, work_dir: Path, max_iters: int = 4, **changes) -> dict:
        return dict(
            default_scope="mmseg",
            model=self.model_config(),
            train_dataloader=dict(
                batch_size=sum(self.counts.values()),
                num_workers=0,
                sampler=dict(type="MultiSourceSampler", num_per_source=self.counts),
                dataset=dict(self.dataset),
            ),
            optim_wrapper=dict(
                type="OptimWrapper",
                optimizer=dict(type="SGD", lr=0.02, momentum=0.9),
                **copy.deepcopy(self.optim_wrapper),
            ),
            param_scheduler=[
                dict(type="PolyLR", power=0.9, begin=0, end=max_iters + 1, by_epoch=False)
            ],
            train_cfg=dict(type="SemiIterBasedTrainLoop", max_iters=max_iters),
            default_hooks=dict(
                checkpoint=dict(type="AtomicCheckpointHook", by_epoch=False, interval=2)
            ),
            test_pipeline=[dict(type="LoadImageFromFile"), dict(type="PackSegInputs")],
            randomness=dict(seed=0),
            log_level="ERROR",
            work_dir=str(work_dir),
            experiment_name=f"method_tester_{next(_counter)}",
            **changes,
        )

    def step_runner(
        self,
        segmentor: dict = FCN,
        wrapper: type = OptimWrapper,
        settings: dict | None = None,
        **options,
    ):
        """Training steps by hand; the seed makes all of one architecture start equal."""
        init_default_scope("mmseg")
        torch.manual_seed(0)
        model = MODELS.build(self.model_config(segmentor, **(settings or {})))
        model.init_weights()
        return StepRunner(model, build_optimizers(model, self.optim_wrapper, wrapper, **options))

    def batches(self, number: int) -> list[dict]:
        return draw_batches(DATASETS.build(self.dataset), self.counts, number)

    @pytest.fixture(scope="class")
    def straight(self, tmp_path_factory) -> Iterator[Runner]:
        """Four iterations with checkpoints at 2 and 4."""
        runner = build_runner(self.runner_config(tmp_path_factory.mktemp(self.name)))
        runner.train()
        yield runner

    @pytest.fixture(scope="class")
    def resumed(self, straight, tmp_path_factory) -> Iterator[Runner]:
        """The last two iterations again, from the checkpoint at 2."""
        checkpoint = str(Path(straight.work_dir) / "iter_2.pth")
        folder = tmp_path_factory.mktemp(self.name)
        config = self.runner_config(folder, load_from=checkpoint, resume=True)
        runner = build_runner(config)
        runner.train()
        yield runner

    # ---------------------------------------------------------------- tests

    def test_networks_and_settings(self):
        model = MODELS.build(self.model_config())
        assert model.network_names == self.networks
        assert model.predict_on == self.predict_on
        assert model.has_teacher == ("teacher" in self.networks)
        for name, parameter in model.named_parameters():
            assert parameter.requires_grad != name.startswith("teacher."), name
        with pytest.raises(ConfigError, match=f"{self.model['type']} .*'unsup_wieght'"):
            MODELS.build(self.model_config(unsup_wieght=1.0))

    def test_it_trains(self, straight):
        recorder, model = straight.recorder, straight.model
        assert list(recorder.values) == [1, 2, 3, 4]
        for values in recorder.values.values():
            assert len(values) <= MOST_SCALARS, sorted(values)
            assert all(math.isfinite(value) for value in values.values()), values
            assert all(values[key] > 0 for key in self.unsup_losses), values
        parameters = {name for name, p in model.named_parameters() if p.requires_grad}
        assert recorder.with_gradient == parameters
        changed = differing(recorder.before, snapshot(model))
        assert parameters <= set(changed), parameters - set(changed)
        averaged = [name for name, _ in model.named_parameters() if name.startswith("teacher.")]
        assert set(averaged) <= set(changed), set(averaged) - set(changed)

    def test_resuming_is_exact(self, straight, resumed):
        assert list(resumed.recorder.values) == [3, 4]
        for iteration, values in resumed.recorder.values.items():
            assert values == straight.recorder.values[iteration], iteration
        assert not differing(snapshot(straight.model), snapshot(resumed.model))
        states = [runner.optim_wrapper.state_dict() for runner in (straight, resumed)]
        if self.parts:
            assert set(states[0]) == {"segmentor", *self.parts}
        assert_equal_states(*states)

    def test_export(self, straight, tmp_path):
        result = export_segmentor(Path(straight.work_dir) / "iter_4.pth", tmp_path)
        assert result.own_parts == [] and result.net == str(self.predict_on)
        plain = MODELS.build(Config.fromfile(result.config).model).eval()
        load_checkpoint(plain, str(result.weights), strict=True)
        images = torch.randn(2, 3, 40, 48, generator=torch.Generator().manual_seed(0))
        metas = [dict(ori_shape=(40, 48), img_shape=(40, 48))] * 2
        with torch.no_grad():
            expected = straight.model.eval().encode_decode(images, metas)
            assert torch.equal(plain.encode_decode(images, metas), expected)

    def test_accumulation(self):
        """Weights move with the second batch of each pair, and the teacher with them."""
        runner = self.step_runner(accumulative_counts=2)
        networks = {"student": runner.model.networks()[0]}
        networks.update((part, getattr(runner.model, part)) for part in self.parts)
        if runner.model.has_teacher:
            networks["teacher"] = runner.model.teacher
        moves: dict[str, list[bool]] = {name: [] for name in networks}
        before = {}
        for batch in self.batches(6):
            for name, net in networks.items():
                before[name] = copy.deepcopy(list(net.parameters()))
            runner.step(batch)
            for name, net in networks.items():
                pairs = zip(before[name], net.parameters())
                moves[name].append(any(not torch.equal(old, new) for old, new in pairs))
        assert all(moves[name] == [False, True] * 3 for name in ("student", *self.parts)), moves
        if runner.model.has_teacher:
            mid = runner.model.teacher.when == "mid"
            # Between the forwards: at first both are equal, then with the batch behind each step.
            later = [False, False] + [True, False] * 2
            assert moves["teacher"] == (later if mid else moves["student"])

    @pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler is enabled")
    def test_bfloat16(self, monkeypatch):
        """The same first step as in float32, within the precision of the type."""
        # mmengine allows it on accelerators only; without one the scaler switches itself off.
        monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
        batch = self.batches(1)[0]
        want = self.step_runner().step(copy.deepcopy(batch))
        runner = self.step_runner(wrapper=AmpOptimWrapper, dtype="bfloat16")
        seen = Recorder()
        seen.before_train(runner)
        values = runner.step(batch)
        for key, value in values.items():
            if "loss" in key:
                assert value.dtype == torch.float32 and torch.isfinite(value), key
                assert value.item() == pytest.approx(want[key].item(), rel=BF16_RTOL), key
        assert values["loss"] != want["loss"], "autocast did nothing"
        trained = {name for name, p in runner.model.named_parameters() if p.requires_grad}
        assert seen.with_gradient == trained

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_architecture(self, architecture):
        runner = self.step_runner(ARCHITECTURES[architecture])
        recorder = Recorder()
        recorder.before_train(runner)
        values = runner.step(self.batches(1)[0])
        assert all(torch.isfinite(torch.as_tensor(value)) for value in values.values())
        names = {name for name, p in runner.model.named_parameters() if p.requires_grad}
        assert recorder.with_gradient == names
        for key in self.unsup_losses:
            assert values[key] > 0, key

    def test_a_backbone_keeps_its_statistics(self):
        runner = self.step_runner(settings=dict(backbone_norm_eval=True))
        before = snapshot(runner.model)
        for batch in self.batches(2):
            runner.model.train()
            runner.step(batch)
        changed = set(differing(before, snapshot(runner.model)))
        backbone = {name for name in before if ".backbone." in name}
        statistics = {name for name in backbone if is_statistic(name)}
        assert statistics and not statistics & changed
        assert backbone - statistics <= changed

    def test_a_frozen_encoder(self):
        """Nothing of it is trained, stepped or averaged; each view passes it once."""
        runner = self.step_runner(settings=dict(frozen_encoder=True, **self.frozen_settings))
        model = runner.model
        encoders = [net.backbone for net in model.networks()]
        of_encoders = {id(p) for encoder in encoders for p in encoder.parameters()}
        wrapper = runner.optim_wrapper
        members = wrapper.values() if self.parts else [wrapper]
        groups = [group for member in members for group in member.optimizer.param_groups]
        stepped = {id(p) for group in groups for p in group["params"]}
        assert stepped == {id(p) for p in model.parameters() if p.requires_grad}
        assert stepped and not stepped & of_encoders
        if model.has_teacher:
            assert model.teacher.module.backbone is encoders[0]
        before = snapshot(model)
        seen = [record_inputs(encoder, in_eval=True) for encoder in encoders]
        for batch in self.batches(2):
            model.train()
            values = runner.step(batch)
            assert all(values[key] > 0 for key in self.unsup_losses), values
            for inputs in seen:
                rows = [row.numpy().tobytes() for x in inputs for row in x]
                assert rows
                assert len(rows) == len({*rows}) or not self.maps_are_kept, "an image passed twice"
                inputs.clear()
            assert not any(m.training for encoder in encoders for m in encoder.modules())
            assert not any(encoder.step_maps._known for encoder in encoders)
        changed = set(differing(before, snapshot(model)))
        assert changed and not any(".backbone." in name for name in changed)

    def test_views_can_leave_the_statistics_alone(self):
        """Replayed: the same network on those batches alone that hold no other view."""
        views = dict(strong=dict(type="StrongPhotometric"))
        settings = {} if {"strong", "mix"} & set(self.model) else views
        settings = dict(settings, **self.views_alone)
        batch, losses, statistics = self.batches(1)[0], [], []
        for moved in (True, False):
            runner = self.step_runner(settings=dict(settings, strong_view_stats=moved))
            plain = runner.model.data_preprocessor(copy.deepcopy(batch), training=True)["inputs"]
            known = {x.numpy().tobytes() for x in plain.labeled.pixels_NCHW}
            known |= {x.numpy().tobytes() for x in plain.unlabeled.pixels_NCHW}
            replayed = copy.deepcopy(runner.model)
            seen = [record_inputs(net.backbone) for net in runner.model.networks()]
            losses.append(runner.step(copy.deepcopy(batch)))
            statistics.append(statistics_of(runner.model))
        for net, inputs in zip(replayed.networks(), seen):
            for x in inputs:
                if all(image.numpy().tobytes() in known for image in x):
                    net.backbone(x)
        assert losses[0] == losses[1], "views are normalised by their own statistics either way"
        expected = {k: v for k, v in statistics_of(replayed).items() if ".backbone." in k}
        assert expected and not [
            k for k, v in expected.items() if not torch.equal(statistics[1][k], v)
        ]
        same = [k for k, v in statistics[1].items() if torch.equal(statistics[0][k], v)]
        assert not same, f"moved by no view: {same}"

    def test_two_ranks_stay_equal(self, gloo_pool, tmp_path):
        config = self.runner_config(tmp_path, max_iters=2, launcher="pytorch")
        config["randomness"] = dict(seed=0, diff_rank_seed=True)
        config["default_hooks"]["checkpoint"]["interval"] = 100
        first, second = gloo_pool.run(train_rank, config)
        assert not differing(first, second)
        prefixes = {name.split(".")[0] for name in first}
        networks = {"branches"} if 0 in self.networks else set(self.networks)
        assert prefixes == networks | {*self.parts, *self.heads}

    def test_a_step_never_waits_for_the_device(self):
        runner = self.step_runner()
        model, batch = runner.model, self.batches(1)[0]
        if getattr(model, "mix", None) is not None:  # draws its boxes on the CPU
            model.mix.draw_masks = without_modes(model.mix.draw_masks)
        runner.start_step()
        counts = model.label_counts = LabelCounts(model.num_classes, torch.device("cpu"))
        with Waits() as waits:
            data = model.data_preprocessor(batch, training=True)
            total, _ = model.parse_losses(model(**data, mode="loss"))
            total.backward()
        assert not waits.found
        # What DiagnosisHook reads: the masks of the batch, and the labels of its other images.
        if isinstance(model, SemiSegmentor):
            labels = data["inputs"].labeled.labels_NHW
            expected = [(labels == c).sum().item() for c in range(model.num_classes)]
            assert counts.labeled.tolist() == [*expected, labels.numel() - sum(expected)]
            assert (counts.kept.sum() > 0) == self.labels_images == (counts.steps > 0)

    def test_golden_curve(self, segmentor_config, preprocessor_config, semi_config, request):
        """A refactor that changes a method's numbers must say why; CPUs differ in the last bits."""
        model = self.golden_model(segmentor_config)
        model["data_preprocessor"] = preprocessor_config
        data = self.golden_data(semi_config)
        got = golden_curve(model, data, self.counts, self.optim_wrapper)
        path = GOLDEN / f"{self.name}.json"
        if request.config.getoption("--write-golden"):
            text = json.dumps({"torch": torch.__version__, "losses": got}, indent=1)
            path.write_text(text + "\n")
        stored = json.loads(path.read_text())["losses"]
        assert len(got) == len(stored) == GOLDEN_ITERATIONS
        for iteration, (ours, golden) in enumerate(zip(got[: self.golden_compared], stored)):
            assert ours == pytest.approx(golden, GOLDEN_RTOL, 1e-6), f"iteration {iteration}"
        for key in self.unsup_losses:
            assert max(losses[key] for losses in stored) > 0.01, key
