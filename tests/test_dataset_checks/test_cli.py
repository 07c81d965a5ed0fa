# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The tool: what it prints and writes, its exit codes, wrapped data sets, several processes."""

from __future__ import annotations

import copy
import gc
import io
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmsemi import launch
from mmsemi.dataset_checks import check_config, main, scan, source_rules

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def quick_garbage_collection():
    """mmengine collects garbage for each data set, which visits all of torch's objects."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def config(semi_config, val_config, preprocessor_config, tmp_path, monkeypatch) -> Config:
    """A config of the small data set of all tests; relative paths end in the test's folder."""
    monkeypatch.chdir(tmp_path)
    preprocessor_config["mix"] = dict(type="CutMix")
    return Config(
        dict(
            default_scope="mmseg",
            model=dict(type="CPS", data_preprocessor=preprocessor_config),
            train_dataloader=dict(
                batch_size=6,
                sampler=dict(
                    type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=4)
                ),
                dataset=semi_config,
            ),
            val_dataloader=dict(batch_size=1, dataset=val_config),
        )
    )


@pytest.fixture
def config_file(config, tmp_path):
    """Writes the config, changed or not, and returns its path."""

    def write() -> str:
        path = tmp_path / "my_config.py"
        config.dump(path)
        return str(path)

    return write


def test_a_clean_set_exits_with_0_and_writes_the_sheet(config_file, tmp_path, capsys):
    json_file = tmp_path / "deep" / "result.json"
    assert main([config_file(), "--json", str(json_file), "--workers", "1"]) == 0
    text = capsys.readouterr().out
    assert "0 errors, 0 warnings, 0 notes" in text and "2 right" in text
    values = json.loads(json_file.read_text())
    assert values["findings"] == [] and values["counts"]["error"] == 0
    labeled = values["sources"]["labeled"]
    assert labeled["images"] == labeled["readable_masks"] == 4
    assert set(labeled["pixels"]) == {"background", "left", "right"}
    assert labeled["masks_with_class"]["right"] == 4 and 0 < labeled["void_share"] < 0.1
    picture = Image.open(tmp_path / "work_dirs/check_dataset/my_config.png")
    assert picture.mode == "RGB" and picture.width > 600 and picture.height > 300


def test_the_numbers_are_those_of_the_files(config, data_root):
    result = check_config(config)
    names = [Path(i.mask_path) for i in result.collection.sources[0].items]
    pixels = np.concatenate([np.asarray(Image.open(name)).ravel() for name in names])
    stats = result.stats["labeled"]
    assert stats.pixels.tolist() == [(pixels == k).sum() for k in range(3)]
    assert stats.void == (pixels == 255).sum()


def test_errors_exit_with_1_and_warnings_only_when_strict(config_file, data_root, capsys):
    image = data_root / "images/train/t00.png"
    Image.open(image).convert("RGBA").save(image)
    options = [config_file(), "--no-contact-sheet", "--workers", "1"]
    assert main(options) == 0
    assert main([*options, "--strict"]) == 1
    assert "warning image-alpha [" in capsys.readouterr().out
    image.write_bytes(b"")
    assert main(options) == 1
    out = capsys.readouterr().out
    assert "error   file-empty [" in out and "t00.png" in out and "fix: " in out
    assert not Path("work_dirs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers and --samples must be at least 1"),
        (["--contact-sheet", "sheet.jpg"], "--contact-sheet sheet.jpg must end in .png"),
        (["--cfg-options", "train_dataloder.batch_size=1"], "did you mean 'train_dataloader'"),
    ],
)
def test_wrong_usage_exits_with_2(config_file, options, message, capsys):
    assert main([config_file(), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_config_without_data_and_a_missing_one_exit_with_2(tmp_path, capsys):
    (tmp_path / "empty.py").write_text("a = 1\n")
    assert main([str(tmp_path / "empty.py")]) == 2
    assert "has no train_dataloader" in capsys.readouterr().err
    assert main([str(tmp_path / "none.py")]) == 2


def test_the_script_has_help(monkeypatch, capsys):
    tool = str(REPOSITORY / "tools" / "check_dataset.py")
    monkeypatch.setattr(sys, "argv", [tool, "--help"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(tool, run_name="__main__")
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(word in out for word in ("--workers", "--json", "--strict", "exit code"))


def test_a_batch_that_cannot_be_made_is_an_error(config_file, config, capsys):
    config.model.data_preprocessor.size = (16, 16)
    assert main([config_file(), "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert "error   batch-cannot-be-made [train_dataloader]" in out
    assert "larger than data_preprocessor.size=(16, 16)" in out


def test_several_processes_find_the_same(config, data_root, monkeypatch):
    (data_root / "images/train/t00.png").write_bytes(b"")
    (data_root / "images/val/v00.png").write_text("no picture")
    alone = check_config(config, workers=1)
    monkeypatch.setattr(scan, "_CHUNK", 4)
    seen = []
    together = check_config(config, workers=2, progress=lambda *counts: seen.append(counts))
    assert alone.findings == together.findings and len(alone.findings) == 2
    assert seen[-1] == (alone.files, alone.files) and len(seen) > 3


def test_progress_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with scan.ProgressBar() as progress:
        progress(1, 2)
        progress(2, 2)
    assert "2/2" in terminal.getvalue()


def test_plain_mmseg_loaders_with_wrappers(config, data_root, val_config):
    """A stock training set inside RepeatDataset and ConcatDataset; no semi-supervised part."""
    train = copy.deepcopy(config.train_dataloader.dataset.labeled)
    # Indices in the file are 0..2 for background, left, right; this data set knows two of them.
    (data_root / "images/train/t00.png").unlink()
    twice = dict(type="RepeatDataset", times=3, dataset=train)
    other = {**val_config, "pipeline": train["pipeline"]}
    config.train_dataloader.dataset = dict(type="ConcatDataset", datasets=[twice, other])
    result = check_config(config)
    source = result.collection.sources[0]
    assert (source.name, source.role, len(source.items)) == ("train", "train", 11 + 3)
    codes = {f.code: f.count for f in result.findings}
    assert codes == {"mask-without-image": 1, "held-out-image-in-training": 3}


def test_a_test_loader_is_checked_unless_it_is_the_validation_one(config, val_config):
    config.test_dataloader = copy.deepcopy(config.val_dataloader)
    assert [s.name for s in check_config(config).collection.sources] == [
        "labeled",
        "unlabeled",
        "val",
    ]
    config.test_dataloader.dataset.indices = 2
    result = check_config(config)
    assert [len(s.items) for s in result.collection.sources] == [4, 8, 3, 2]
    assert [(f.code, f.count) for f in result.findings] == [("val-image-in-test", 2)]


def test_stored_values_are_mapped_as_training_maps_them():
    from mmseg.datasets import BaseSegDataset

    from mmsemi.dataset_checks.sources import _origin

    class Animals(BaseSegDataset):
        METAINFO = dict(classes=("cat", "dog", "cow"), palette=[[1, 1, 1], [2, 2, 2], [3, 3, 3]])

    mask = scan.MaskFacts("m.png", histogram={0: 5, 1: 6, 2: 7, 255: 8})
    lazy = dict(lazy_init=True, data_prefix=dict(img_path="a", seg_map_path="b"))
    for settings, classes, want in (
        ({}, 3, ([5, 6, 7], 8, {})),
        ({}, 2, ([5, 6], 8, {2: 7})),
        (dict(reduce_zero_label=True), 2, ([6, 7], 13, {})),
        (dict(metainfo=dict(classes=("cow", "cat"))), 2, ([7, 5], 14, {})),
    ):
        table = _origin(Animals(**lazy, **settings)).label_table
        pixels, void, outside = source_rules.class_histogram(mask, table, classes, 255)
        assert (pixels.tolist(), void, outside) == want


def test_masks_that_count_from_1_get_that_advice(config, data_root):
    for path in [*data_root.glob("masks/*/*.png")]:
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask < 255, mask + 1, mask).astype(np.uint8)).save(path)
    findings = [f for f in check_config(config).findings if f.code == "mask-value-outside"]
    assert [f.source for f in findings] == ["labeled", "val"]
    assert "reduce_zero_label=True" in findings[0].fix
    config.train_dataloader.dataset.labeled.reduce_zero_label = True
    config.val_dataloader.dataset.reduce_zero_label = True
    assert check_config(config).findings == []


def test_colour_masks_get_the_fitting_advice(config, data_root):
    labeled = [i.mask_path for i in check_config(config).collection.sources[0].items]
    palette = np.array(config.train_dataloader.dataset.labeled.metainfo.palette, np.uint8)
    for path in labeled[:2]:
        mask = np.asarray(Image.open(path))
        Image.fromarray(palette[np.where(mask < 3, mask, 0)]).save(path)
    finding = next(f for f in check_config(config).findings if f.code == "mask-is-colour")
    assert finding.count == 2 and "the colours are the palette's" in finding.fix
    for path in labeled[:2]:
        Image.fromarray(np.stack([mask] * 3, -1)).save(path)
    finding = next(f for f in check_config(config).findings if f.code == "mask-is-colour")
    assert "the channels are equal" in finding.fix


def test_a_wrong_mask_suffix_names_a_file_of_the_folder(config):
    config.val_dataloader.dataset.seg_map_suffix = "_mask.png"
    finding = next(f for f in check_config(config).findings if f.code == "mask-missing")
    assert finding.count == 3 and "v00.png" in finding.fix and "'_mask.png'" in finding.fix


@pytest.mark.parametrize("name", ["cps/shapes_1-8", "cps/camvid_1-8"])
def test_shipped_data_sets_are_clean(name, tmp_path):
    """The built-in set, made here, and CamVid where it is."""
    config = launch.load_config(str(REPOSITORY / "configs" / f"{name}.py"))
    root = tmp_path / "shapes"
    if "camvid" in name:
        root = REPOSITORY.parent / "shared" / "data" / "camvid"
        if not root.is_dir():
            pytest.skip("CamVid is not part of the repository")
    config = Config(dict(config._cfg_dict))
    config.test_dataloader = config.val_dataloader
    for dataset in (config.train_dataloader.dataset.labeled, config.val_dataloader.dataset):
        dataset.data_root = str(root)
        if "shapes" in name:
            dataset.generate = dict(num_train=24, num_val=6)
    result = check_config(config)
    # So few of the built-in images may well lack a class.
    assert {f.code for f in result.findings} <= {"class-never-labelled", "class-not-in-val"}
    if "camvid" in name:
        assert {n: len(s.items) for n, s in zip(result.stats, result.collection.sources)} == {
            "labeled": 45,
            "unlabeled": 322,
            "val": 101,
        }


def test_the_documentation_names_every_finding():
    code = "".join(p.read_text() for p in (REPOSITORY / "mmsemi/dataset_checks").glob("*.py"))
    codes = set(re.findall(r'"(?:error|warning|info)",\s*"([a-z0-9]+(?:-[a-z0-9]+)+)"', code))
    codes |= {"held-out-name-in-training", "labeled-image-among-unlabeled", "batch-cannot-be-made"}
    documented = (REPOSITORY / "docs" / "check_dataset.md").read_text()
    table = set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", documented))
    assert len(codes) > 30 and codes == table
