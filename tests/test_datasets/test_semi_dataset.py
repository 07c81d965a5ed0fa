# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from __future__ import annotations

import copy
import os
import random
import shutil

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from mmsemi.datasets import Draw, MultiSourceSampler, UnlabeledDataset
from mmsemi.errors import ConfigError, DataError


def build(config):
    return DATASETS.build(copy.deepcopy(config))


def same(a, b) -> bool:
    """Whether two samples agree in pixels, masks and metainfo."""
    first, second = a["data_samples"], b["data_samples"]
    masks = "gt_sem_seg" in first
    return (
        torch.equal(a["inputs"], b["inputs"])
        and first.metainfo == second.metainfo
        and (not masks or torch.equal(first.gt_sem_seg.data, second.gt_sem_seg.data))
    )


def test_sources_are_named_and_disjoint(semi_config):
    dataset = build(semi_config)
    assert {name: len(span) for name, span in dataset.source_ranges.items()} == {
        "labeled": 4,
        "unlabeled": 8,
    }
    assert not set(dataset.img_paths("labeled")) & set(dataset.img_paths("unlabeled"))
    sample = dataset[0]["data_samples"]
    assert sample.source == "labeled" and sample.gt_sem_seg.data.dtype == torch.uint8
    unlabeled = dataset[4]["data_samples"]
    assert unlabeled.source == "unlabeled" and "gt_sem_seg" not in unlabeled
    assert dataset.metainfo["classes"] == ("background", "left", "right")


def test_no_mask_of_an_unlabelled_image_is_opened(semi_config, data_root, monkeypatch):
    """Neither the listing nor the loading touches one: they may as well not exist."""
    opened = []
    import mmengine.fileio as fileio

    get = fileio.get
    monkeypatch.setattr(
        fileio, "get", lambda path, *a, **k: opened.append(str(path)) or get(path, *a, **k)
    )
    dataset = build(semi_config)
    for index in range(len(dataset)):
        dataset[index]
    masks = {path for path in opened if os.sep + "masks" + os.sep in path}
    labeled = {os.path.basename(path) for path in dataset.img_paths("labeled")}
    assert {os.path.basename(path) for path in masks} == labeled
    for path in dataset.img_paths("unlabeled"):
        os.remove(path.replace("images", "masks"))
    again = build(semi_config)
    assert all(same(again[Draw(i, i)], dataset[Draw(i, i)]) for i in range(len(dataset)))


def test_a_sample_is_a_function_of_its_draw(semi_config):
    dataset = build(semi_config)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    first = dataset[Draw(5, 77)]
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    assert same(dataset[Draw(5, 77)], first)
    assert not same(dataset[Draw(5, 78)], first)
    assert first["data_samples"].draw_seed == 77


def test_drawing_leaves_the_global_generators_alone(semi_config):
    dataset = build(semi_config)
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    want = random.random(), np.random.rand(), torch.rand(1)
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    dataset[Draw(5, 77)]
    assert (random.random(), np.random.rand(), torch.rand(1)) == want


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_worker_count_changes_nothing(semi_config, num_workers):
    dataset = build(semi_config)
    sampler = MultiSourceSampler(dataset, dict(labeled=2, unlabeled=2), seed=4)
    loader = DataLoader(
        dataset, 4, sampler=sampler, num_workers=num_workers, collate_fn=pseudo_collate
    )
    batch = [item for _, item in zip(range(4), loader)][-1]
    for image, sample, draw in zip(batch["inputs"], batch["data_samples"], sampler.batch(3)):
        assert same(dataset[draw], dict(inputs=image, data_samples=sample))


def test_pool_all_and_other_folders(semi_config, data_root, tmp_path):
    config = copy.deepcopy(semi_config)
    config["unlabeled"]["pool"] = "all"
    assert len(build(config).source_ranges["unlabeled"]) == 12
    folder = tmp_path / "more" / "deep"
    folder.mkdir(parents=True)
    for number, suffix in enumerate(("png", "JPG", "bmp")):
        size = (30 + number, 50)
        Image.new("RGB", size).save(folder / f"x{number}.{suffix}")
    (folder / "notes.txt").write_text("no image")
    config["unlabeled"] = dict(
        img_dir=str(tmp_path / "more"), pipeline=semi_config["unlabeled"]["pipeline"]
    )
    assert len(build(config).source_ranges["unlabeled"]) == 3
    config["unlabeled"]["pool"] = "rest"
    dataset = build(config)
    assert len(dataset.source_ranges["unlabeled"]) == 8 + 3
    assert dataset[len(dataset) - 1]["inputs"].dtype == torch.uint8


def test_unlabelled_list_file(semi_config, data_root, tmp_path):
    (tmp_path / "list.txt").write_text("t01\nt02.png\n")
    config = copy.deepcopy(semi_config)
    config["unlabeled"].update(
        img_dir=str(data_root / "images/train"), ann_file=str(tmp_path / "list.txt")
    )
    assert [os.path.basename(p) for p in build(config).img_paths("unlabeled")] == [
        "t01.png",
        "t02.png",
    ]
    (tmp_path / "list.txt").write_text("t01\nt77\n")
    with pytest.raises(DataError, match="'t77' .*list.txt'"):
        build(config)


def test_further_sources_keep_their_name(semi_config, data_root):
    config = {**semi_config, "sources": dict(gt=copy.deepcopy(semi_config["labeled"]))}
    dataset = build(config)
    assert len(dataset.source_ranges["gt"]) == 12
    assert dataset[12]["data_samples"].source == "gt"


def test_wrong_or_empty_folders_are_named(semi_config, tmp_path):
    config = copy.deepcopy(semi_config)
    config["unlabeled"]["img_dir"] = str(tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere'"):
        build(config)
    (tmp_path / "empty").mkdir()
    config["unlabeled"]["img_dir"] = str(tmp_path / "empty")
    with pytest.raises(DataError, match="empty'"):
        build(config)
    config = copy.deepcopy(semi_config)
    config["labeled"]["data_prefix"]["img_path"] = "images/empty"
    with pytest.raises(DataError, match="labelled .*images/empty"):
        build(config)
    os.makedirs(os.path.join(config["labeled"]["data_root"], "images/empty"))
    with pytest.raises(DataError, match="labelled .*images/empty'"):
        build(config)


def test_nothing_left_for_the_unlabelled_source(semi_config):
    dataset = build({**semi_config, "split": None})
    assert len(dataset.source_ranges["unlabeled"]) == 0
    MultiSourceSampler(dataset, dict(labeled=2, unlabeled=0), seed=0)
    with pytest.raises(ConfigError, match="'unlabeled' .*num_per_source.unlabeled=1"):
        MultiSourceSampler(dataset, dict(labeled=2, unlabeled=1), seed=0)


def test_only_broken_images_end_in_an_error(semi_config):
    dataset = build({**semi_config, "max_unreadable": 99})
    for path in dataset.img_paths("labeled"):
        with open(path, "wb") as file:
            file.write(b"broken")
    with (
        pytest.warns(UserWarning, match="labeled image '.*png'"),
        pytest.raises(DataError, match="100 labeled .*png'"),
    ):
        dataset[Draw(0, 1)]


def test_annotations_in_an_unlabelled_pipeline_are_refused():
    with pytest.raises(ConfigError, match="LoadAnnotations"):
        UnlabeledDataset(img_paths=["a.png"], pipeline=[dict(type="LoadAnnotations")])


def corrupt(kind: str, dataset) -> str:
    """Damage one labelled sample; returns the damaged path."""
    image = dataset.img_paths("labeled")[0]
    mask = image.replace("images", "masks")
    values = np.array(Image.open(mask))
    if kind == "missing image":
        os.remove(image)
        return image
    if kind == "broken image":
        with open(image, "wb") as file:
            file.write(b"not a picture")
        return image
    if kind == "missing mask":
        os.remove(mask)
        return mask
    if kind == "value":
        values[3, 3] = 7
        Image.fromarray(values).save(mask)
    elif kind == "size":
        Image.fromarray(values[:-5]).save(mask)
    elif kind == "colour":
        Image.fromarray(np.stack([values] * 3, -1)).save(mask)
    elif kind == "palette":
        picture = Image.fromarray(np.full_like(values, 120), mode="P")
        picture.putpalette([i // 3 for i in range(768)])
        picture.save(mask)
    elif kind == "16 bit":
        Image.fromarray(values.astype(np.uint16) + 300).save(mask)
    return mask


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("missing image", ""),
        ("broken image", ""),
        ("missing mask", ""),
        ("value", r" 7, .* 3 .*\(0..2, 255 "),
        ("size", r" \d+x\d+ .* \d+x\d+"),
        ("colour", r"\(\d+, \d+, 3\)"),
        ("palette", " 120, .* 3 "),
        ("16 bit", r" 55[567]"),
    ],
)
def test_bad_files_are_named(semi_config, kind, value):
    dataset = build(semi_config)
    path = corrupt(kind, dataset)
    with pytest.raises(DataError, match=f"labeled image .*'{path}'.*{value}.*max_unreadable"):
        dataset[Draw(0, 1)]


def test_palette_masks_with_class_indices_are_read(semi_config):
    dataset = build(semi_config)
    want = dataset[Draw(0, 1)]
    mask = dataset.img_paths("labeled")[0].replace("images", "masks")
    picture = Image.fromarray(np.array(Image.open(mask)), mode="P")
    picture.putpalette([255 - i // 3 for i in range(768)])
    picture.save(mask)
    assert same(dataset[Draw(0, 1)], want)


def test_unreadable_images_can_be_skipped_up_to_a_limit(semi_config):
    dataset = build({**semi_config, "max_unreadable": 1})
    damaged = dataset.img_paths("unlabeled")[0]
    with open(damaged, "wb") as file:
        file.write(b"broken")
    with pytest.warns(UserWarning, match=damaged):
        sample = dataset[Draw(4, 1)]
    assert (
        sample["data_samples"].source == "unlabeled" and sample["data_samples"].img_path != damaged
    )
    os.remove(dataset.img_paths("unlabeled")[1])
    with pytest.raises(DataError, match="2 .*max_unreadable .* 1"):
        dataset[Draw(5, 1)]


def test_reduce_zero_label_and_class_subsets_as_mmseg(semi_config, data_root):
    """The checked loader gives the stock loader's masks."""
    config = semi_config["labeled"]
    config["reduce_zero_label"] = True
    config["pipeline"] = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations"),
        dict(type="PackSemiInputs"),
    ]
    stock = DATASETS.build(copy.deepcopy(config))
    semi = build(dict(type="SemiDataset", labeled=config))
    for index in range(3):
        a, b = stock[index]["data_samples"], semi[index]["data_samples"]
        assert a.img_path == b.img_path and torch.equal(a.gt_sem_seg.data, b.gt_sem_seg.data)
    assert set(a.gt_sem_seg.data.unique().tolist()) == {0, 1, 255}


@pytest.mark.parametrize(
    ("lines", "value"),
    [(b"t01\nt02\nt01\n", "images/train' .*'t01'"), (b"\xff\xd8\x00", "list.txt'")],
)
def test_wrong_list_files_are_named(semi_config, data_root, lines, value):
    (data_root / "list.txt").write_bytes(lines)
    semi_config["labeled"]["ann_file"] = "list.txt"
    semi_config["split"] = dict(type="RatioSplit", ratio="1/2")
    with pytest.raises(DataError, match=value):
        build(semi_config)


def test_stock_complaints_about_a_config_name_the_data_set(semi_config, data_root):
    semi_config["labeled"]["metainfo"] = dict(classes=("a", "b"), palette=[[0, 0, 0]])
    with pytest.raises(DataError, match="labelled data set BaseSegDataset at '.*palette"):
        build(semi_config)


def test_links_to_the_data_are_fine(semi_config, data_root, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(data_root)
    config = copy.deepcopy(semi_config)
    config["labeled"]["data_root"] = str(link)
    assert build(config).labeled_ids == build(semi_config).labeled_ids
    shutil.rmtree(data_root / "masks" / "val")  # unrelated folders are not touched
    assert len(build(config)) == 12
