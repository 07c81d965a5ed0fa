# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi predict``: which files there are, what a restart does, what a user can do wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmsemi.cli.predict import main
from mmsemi.errors import ConfigError, DataError
from mmsemi.prediction import folder as module
from mmsemi.prediction.inputs import find_inputs
from mmsemi.prediction.pictures import encode_picture
from mmsemi.prediction.predictor import Prediction, Predictor


def written(out: Path, kind: str = "masks") -> list[str]:
    return sorted(
        p.relative_to(out / kind).as_posix() for p in (out / kind).rglob("*") if p.is_file()
    )


def times(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}


@pytest.fixture
def call(make_checkpoint, images, tmp_path):
    """Arguments of a call with 7 images, one name in three folders, two of which cannot be read."""
    source = tmp_path / "in"
    for number, name in enumerate(("a.png", "x/a.png", "x/y/a.png", "x/b.png")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images[number % 3], source / name)
    cv2.imwrite(str(source / "x/b.jpg"), cv2.imread(str(images[0]))[:20, :30])
    (source / "broken.png").write_bytes(b"no picture")
    (source / "x/cut.png").write_bytes(images[0].read_bytes()[:900])
    path, _ = make_checkpoint()
    fixed = ["--workers", "0", "--device", "cpu", "--batch-size", "2"]
    return [str(path), str(source), str(tmp_path / "out"), *fixed]


def test_a_folder_with_broken_images(call, tmp_path, capsys):
    assert main([*call, "--write", "masks", "colors", "overlays", "confidence"]) == 1
    error = capsys.readouterr().err
    assert "2 of 7" in error and error.count("broken.png") == 1 and error.count("cut.png") == 1
    out, names = tmp_path / "out", ["a.png", "x/a.png", "x/b.jpg.png", "x/b.png.png", "x/y/a.png"]
    for kind in ("masks", "colors", "confidence"):
        assert written(out, kind) == names
    assert written(out, "overlays") == [name.removesuffix("png") + "jpg" for name in names]
    for name, image in (("x/b.jpg.png", "x/b.jpg"), ("x/a.png", "x/a.png")):
        mask = cv2.imread(str(out / "masks" / name), cv2.IMREAD_UNCHANGED)
        confidence = cv2.imread(str(out / "confidence" / name), cv2.IMREAD_UNCHANGED)
        assert mask.dtype == np.uint8 and confidence.dtype == np.uint16 and mask.max() <= 2
        assert mask.shape == confidence.shape == cv2.imread(str(tmp_path / "in" / image)).shape[:2]
    assert not list(out.rglob(".*"))

    # Again: only the broken ones are tried; one that was repaired and one that is newer are done.
    before = times(out)
    shutil.copy(tmp_path / "in/a.png", tmp_path / "in/broken.png")
    later = max(before.values()) + 10**9
    os.utime(tmp_path / "in/x/a.png", ns=(later, later))
    assert main(call) == 1
    changed = {
        path.relative_to(out).as_posix()
        for path, time in times(out).items()
        if before.get(path) != time
    }
    assert changed == {"masks/broken.png", "masks/x/a.png"}


def test_a_killed_call_goes_on(call, tmp_path, monkeypatch):
    write, count = module.write_beside, []

    def killed(path, save):
        count.append(path)
        if len(count) == 5:  # the record, two files each of an image, half of the next
            raise KeyboardInterrupt
        write(path, save)

    monkeypatch.setattr(module, "write_beside", killed)
    monkeypatch.setattr(module, "ThreadPoolExecutor", lambda _: module_pool())
    with pytest.raises(KeyboardInterrupt):
        main([*call, "--batch-size", "1"])
    monkeypatch.setattr(module, "write_beside", write)
    predicted, predict = [], Predictor.predict_prepared
    monkeypatch.setattr(
        Predictor, "predict_prepared", lambda self, s: predicted.append(len(s)) or predict(self, s)
    )
    assert main(call) == 1 and sum(predicted) == 4
    assert len(written(tmp_path / "out")) == len(written(tmp_path / "out", "overlays")) == 5
    assert main(call) == 1 and sum(predicted) == 4
    with pytest.raises(ConfigError, match="another tile"):
        main([*call, "--tile", "512"])


class module_pool:
    """Writes at once, in this thread."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def submit(self, function, *arguments):
        function(*arguments)
        return self

    def result(self):
        return None


def test_a_network_that_fails_on_some_images(call, tmp_path, monkeypatch, capsys):
    logits = Predictor._logits

    def fussy(self, inputs, samples):
        if any(one.shape[-1] == 30 for one in inputs):
            raise RuntimeError("Kernel size can't be greater than actual input size\nsecond line")
        return logits(self, inputs, samples)

    monkeypatch.setattr(Predictor, "_logits", fussy)
    assert main(call) == 1
    error = capsys.readouterr().err
    assert "3 of 7" in error and "Kernel size" in error and "second line" not in error
    assert "x/b.jpg.png" not in written(tmp_path / "out")


def test_inputs(tmp_path, monkeypatch):
    for name in ("p/a.png", "p/q/b.JPG", "p/q/b.txt", "r/a.png", "r/.hidden.png", "r/a.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "p/q/b.txt").write_text("b.JPG\n\np/a.png\n")
    monkeypatch.chdir(tmp_path)

    def names(*given):
        return [one.name for one in find_inputs(given, "out")[1]]

    assert names("p") == ["a", "q/b"] and names("p/q") == ["b"]
    assert names("p", "r", "p/a.png") == ["p/a", "p/q/b", "r/a.png", "r/a.tif"]
    assert names("r/a.png") == ["a.png"], "the name does not depend on what else is predicted"
    assert names("p/q/b.txt") == ["a", "q/b"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "bytes.bin").write_bytes(b"\xff\xfe\xfa")
    for given in ("absent", "empty", "bytes.bin"):
        with pytest.raises(DataError, match=given):
            names(given)


def test_no_image_is_replaced(call, tmp_path):
    source = tmp_path / "in"
    for out in (source, source / "results"):
        with pytest.raises(ConfigError, match="inside the folder"):
            main([call[0], str(source), str(out)])
    masks = tmp_path / "set2/masks"
    shutil.copytree(source, masks)
    with pytest.raises(ConfigError, match="would replace"):
        main([call[0], str(masks), str(tmp_path / "set2")])
    with pytest.raises(ConfigError, match="not empty"):
        main([call[0], str(source), str(tmp_path / "set2")])
    assert not (tmp_path / "set2/predict.json").exists()


def test_pictures():
    labels = np.array([[0, 1], [2, 2]], np.uint8).repeat(16, 0).repeat(16, 1)
    made = Prediction(labels, np.full(labels.shape, 0.25, np.float32), ["Background", "a", "b"])
    palette, image = [[9, 9, 9], [200, 0, 0], [0, 0, 100]], np.full((32, 32, 3), 100, np.uint8)

    def read(kind):
        data = np.frombuffer(encode_picture(kind, made, palette, image), np.uint8)
        return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)

    assert np.array_equal(read("masks"), labels)
    assert np.array_equal(read("colors")[..., ::-1], np.array(palette)[labels])
    assert (read("confidence") == 16384).all()
    overlay = read("overlays")[..., ::-1].astype(int)
    for place, colour in (((4, 4), (100,) * 3), ((4, 28), (150, 50, 50)), ((28, 4), (50, 50, 100))):
        assert np.abs(overlay[place] - colour).max() <= 3
