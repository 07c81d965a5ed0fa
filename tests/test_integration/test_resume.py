# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The stock training tool as users run it: straight, interrupted, killed; then the inference APIs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

REPOSITORY = Path(__file__).resolve().parents[2]
ITERATIONS = 40


@pytest.fixture
def write_config(semi_config, val_config, segmentor_config, preprocessor_config, tmp_path):
    """Writes a whole training config: default runtime, two workers, dropout, validation."""

    def write(model: dict) -> Path:
        unlabeled = 4 if model["type"] == "CPS" else 2
        loader = dict(num_workers=2, persistent_workers=True)
        config = Config(
            dict(
                _base_=str(REPOSITORY / "configs/_base_/default_runtime.py"),
                model=dict(
                    segmentor=segmentor_config, data_preprocessor=preprocessor_config, **model
                ),
                train_dataloader=dict(
                    **loader,
                    batch_size=2 + unlabeled,
                    sampler=dict(
                        type="MultiSourceSampler",
                        num_per_source=dict(labeled=2, unlabeled=unlabeled),
                    ),
                    dataset=semi_config,
                ),
                val_dataloader=dict(
                    **loader,
                    batch_size=1,
                    sampler=dict(type="DefaultSampler", shuffle=False),
                    dataset=val_config,
                ),
                val_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
                test_pipeline=[dict(type="LoadImageFromFile"), dict(type="PackSegInputs")],
                optim_wrapper=dict(
                    type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9)
                ),
                param_scheduler=[
                    dict(type="PolyLR", power=0.9, begin=0, end=ITERATIONS + 1, by_epoch=False)
                ],
                train_cfg=dict(
                    type="SemiIterBasedTrainLoop", max_iters=ITERATIONS, val_interval=10
                ),
                val_cfg=dict(type="TeacherStudentValLoop"),
                test_cfg=dict(type="TestLoop"),
                default_hooks=dict(
                    checkpoint=dict(interval=10, max_keep_ckpts=5), logger=dict(interval=1)
                ),
            )
        )
        config.test_dataloader, config.test_evaluator = config.val_dataloader, config.val_evaluator
        config.visualizer = dict(
            type="SegLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")]
        )
        path = tmp_path / "config.py"
        config.dump(path)
        text = path.read_text()
        path.write_text(
            text + "\ncustom_imports = dict(imports=['mmsemi', 'toy_teacher'])\n"
            if model["type"] != "CPS"
            else text
        )
        return path

    return write


def command(config: Path, work_dir: Path, *arguments: str) -> list[str]:
    tool = REPOSITORY / "tools" / "train.py"
    return [sys.executable, str(tool), str(config), "--work-dir", str(work_dir), *arguments]


def environment() -> dict:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "tests")}


def train(config: Path, work_dir: Path, *arguments: str) -> str:
    done = subprocess.run(
        command(config, work_dir, *arguments),
        env=environment(),
        cwd=work_dir.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def train_and_kill(config: Path, work_dir: Path, after: str) -> None:
    """SIGKILL while the run is somewhere behind the checkpoint ``after``."""
    process = subprocess.Popen(
        command(config, work_dir),
        env=environment(),
        cwd=work_dir.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.time() + 200
    while not (work_dir / after).exists() and time.time() < deadline:
        time.sleep(0.02)
    killed_early = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert killed_early, "the run ended before it could be killed"


def scalars(work_dir: Path) -> dict[int, dict]:
    """Logged training scalars by iteration, over all of the directory's runs."""
    steps = {}
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if "loss" in entry:
                ignored = ("time", "data_time", "memory")
                steps[entry["step"]] = {k: v for k, v in entry.items() if k not in ignored}
    return steps


def assert_same(a, b, where="checkpoint"):
    """Bit for bit, through nested containers."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)):
            assert_same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


def assert_same_runs(first: Path, second: Path) -> dict:
    a, b = (torch.load(d / f"iter_{ITERATIONS}.pth", weights_only=True) for d in (first, second))
    for key in ("state_dict", "optimizer", "param_schedulers", "random_states"):
        assert_same(a[key], b[key], key)
    logs = scalars(first), scalars(second)
    assert list(logs[0]) == list(range(1, ITERATIONS + 1))
    assert logs[0] == logs[1]
    return a


METHODS = {
    "teacher": dict(type="ToyTeacherStudent"),
    "cps_cutmix": dict(type="CPS", mix=dict(type="CutMix")),
}


SLOW = [("teacher", "stop"), ("cps_cutmix", "kill"), ("cps_cutmix", "stop")]


@pytest.mark.parametrize(
    ("method", "interruption"),
    [("teacher", "kill"), *(pytest.param(*one, marks=pytest.mark.slow) for one in SLOW)],
)
def test_interrupted_runs_continue_bit_for_bit(method, interruption, write_config, tmp_path):
    config = write_config(METHODS[method])
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    with ThreadPoolExecutor() as pool:  # side by side: most of the time goes into imports
        whole = pool.submit(train, config, straight)
        if interruption == "kill":
            train_and_kill(config, resumed, "iter_20.pth")
        else:
            train(config, resumed, "--cfg-options", f"train_cfg.max_iters={ITERATIONS // 2}")
        train(config, resumed, "--resume")
        whole.result()
    checkpoint = assert_same_runs(straight, resumed)
    if method == "teacher":
        state = checkpoint["state_dict"]
        pairs = [
            (v, state[k.replace("teacher.module.", "student.")])
            for k, v in state.items()
            if k.startswith("teacher.") and k.endswith("weight")
        ]
        assert any(not torch.equal(*pair) for pair in pairs), "the teacher lags behind the student"
        assert state["teacher.steps"] == ITERATIONS


def test_inference_apis_run_on_a_semi_checkpoint(write_config, tmp_path, data_root):
    from mmseg.apis import MMSegInferencer, inference_model, init_model

    config = write_config(METHODS["cps_cutmix"])
    train(config, tmp_path / "run", "--cfg-options", "train_cfg.max_iters=10")
    checkpoint = tmp_path / "run" / "iter_10.pth"
    model = init_model(str(config), str(checkpoint), device="cpu")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    image = str(data_root / "images/val/v00.png")
    result = inference_model(model, image).pred_sem_seg.data
    assert result.shape == (1, 40, 48) and result.max() <= 2
    inferencer = MMSegInferencer(model=str(config), weights=str(checkpoint), device="cpu")
    prediction = inferencer(image, return_datasamples=False)["predictions"]
    assert np.array_equal(prediction, result[0].numpy())
    tool = [sys.executable, str(REPOSITORY / "tools/test.py"), str(config), str(checkpoint)]
    done = subprocess.run(
        [*tool, "--work-dir", str(tmp_path / "test")],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "mIoU" in done.stdout + done.stderr
