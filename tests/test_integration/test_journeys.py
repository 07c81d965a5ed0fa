# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""From folders of images to a deployed model, as docs/journeys.md shows it, at toy size."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsemi.prediction import load

REPOSITORY = Path(__file__).resolve().parents[2]
SHORT = [
    "train_cfg.max_iters=4",
    "train_cfg.num_validations=1",
    "model.segmentor.backbone.init_cfg=None",
]


@pytest.fixture
def mmsemi(tmp_path, monkeypatch):
    """Runs a command of mmsemi in an empty folder; returns what it printed."""
    monkeypatch.chdir(tmp_path)
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "mmsemi", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, f"{arguments[0]}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    return run


def draw(count: int, scenes: int, values: dict[int, tuple[int, ...]]) -> None:
    """Images of discs, and masks of every third one, whose classes are stored as the given colours."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :64]
    for number in range(count):
        name = f"scene{number % scenes}_{number:03}"
        labels = np.zeros((48, 64), np.uint8)
        for label in list(values)[1:]:
            y, x = rng.integers(12, 36), rng.integers(12, 52)
            labels[(rows - y) ** 2 + (columns - x) ** 2 < 81] = label
        pixels = np.choose(
            labels[..., None], [(40, 60, 80), (200, 120, 60), (90, 220, 150)][: len(values)]
        )
        pixels = np.clip(pixels + rng.normal(0, 20, pixels.shape), 0, 255).astype(np.uint8)
        path = Path("photos", f"site{number % 2}", f"{name}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=95)
        if number % 3 == 0:
            Path("masks").mkdir(exist_ok=True)
            table = np.array([values[key] for key in values], np.uint8)
            Image.fromarray(table[labels].squeeze()).save(Path("masks", f"{name}_mask.png"))


@pytest.mark.parametrize(
    "scenes, values, classes",
    [
        (1, {0: (0,), 1: (255,)}, "background,nucleus"),
        pytest.param(
            4,
            {0: (128, 128, 128), 1: (128, 64, 128), 2: (64, 0, 128)},
            "sky=#808080,road=#804080,car=#400080",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["0 and 255", "colours, by scene"],
)
def test_from_two_folders_to_overlays_and_an_exported_model(mmsemi, scenes, values, classes):
    draw(24, scenes, values)
    small = ["--model", "deeplabv3plus_r18", "--crop", "32", "-o", "my.py"]
    told = mmsemi("init", "--images", "photos", "--masks", "masks", "--classes", classes, *small)
    assert len(Path("my_lists/unlabeled.txt").read_text().splitlines()) <= 16
    assert "--from supervised" in told
    told = mmsemi("train", "my.py", "--from", "supervised", "--baseline", "--cfg-options", *SHORT)
    checkpoint = "work_dirs/my/iter_4.pth"
    assert Path(checkpoint).is_file() and Path("work_dirs/my/report.html").is_file()
    found = json.loads(Path("work_dirs/my/comparison.json").read_text())
    names = re.findall(r"[a-z]+", re.sub("#[0-9a-f]+", "", classes))
    assert found["verdict"] in told and list(found["supervised"]["iou"]) == names
    assert f"weights for mmsemi predict and mmsemi export: {checkpoint} (supervised: " in told
    mmsemi("predict", checkpoint, "photos", "results")
    masks = sorted(Path("results/masks").rglob("*.png"))
    assert len(masks) == len(list(Path("results/overlays").rglob("*.jpg"))) == 24
    assert np.array(Image.open(masks[0])).max() < len(values)
    formats = {"--onnx": ["net.onnx"], "--openvino": ["net.bin", "net.xml"]}
    if not find_spec("openvino"):
        del formats["--openvino"]
    mmsemi("export", checkpoint, "exported", *formats)
    for file in sum(formats.values(), []):
        assert Path("exported", file).stat().st_size > (1e4 if file == "net.xml" else 1e6)
    (exported,) = Path("exported").glob("*.pth")
    image = next(Path("photos").rglob("*.jpg"))
    first, second = (load(path).predict(image).labels_HW for path in (checkpoint, exported))
    assert (first == second).all()
