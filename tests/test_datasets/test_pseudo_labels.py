# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Labels that some tool has stored in a folder, as a plain data set and as a source."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLASSES
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmsemi.datasets import Draw, MultiSourceSampler
from mmsemi.errors import ConfigError, DataError

LOAD = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
GEOMETRY = [
    dict(type="RandomResize", scale=(60, 60), ratio_range=(0.5, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(32, 32)),
    dict(type="RandomFlip", prob=0.5),
]


@pytest.fixture
def folder(data_root: Path) -> Path:
    """Labels of six images whose confidence is a function of the label, in 16 bits."""
    root = data_root.parent / "stored"
    for sub in ("labels", "confidence"):
        (root / sub).mkdir(parents=True)
    for number in range(6):
        label = np.asarray(Image.open(data_root / f"masks/train/t{number:02d}.png"))
        Image.fromarray(label).save(root / f"labels/t{number:02d}.png")
        confidence = (label.astype(np.uint16) + 1) * 256 - 1
        Image.fromarray(confidence).save(root / f"confidence/t{number:02d}.png")
    return root


def config(data_root: Path, folder: Path, **changes) -> dict:
    base = dict(
        type="PseudoLabelDataset",
        data_prefix=dict(
            img_path=str(data_root / "images/train"),
            seg_map_path=str(folder / "labels"),
            conf_map_path=str(folder / "confidence"),
        ),
        metainfo=dict(classes=CLASSES, palette=[[0, 0, 0]] * 3),
        pipeline=[*LOAD, *GEOMETRY, dict(type="PackSemiInputs")],
    )
    return copy.deepcopy({**base, **changes})


def test_image_label_and_confidence_stay_together(data_root, folder):
    dataset = DATASETS.build(config(data_root, folder))
    assert len(dataset) == 6
    for seed in range(12):
        np.random.seed(seed)
        sample = dataset[seed % 6]["data_samples"]
        label, confidence = sample.gt_sem_seg.data, sample.gt_confidence.data
        assert confidence.dtype == torch.float32 and label.shape == confidence.shape
        assert torch.allclose(confidence, (label + 1.0) * 256 / 65536, atol=1e-4)


def test_as_a_source(semi_config, data_root, folder, preprocessor_config, segmentor_config):
    source = config(data_root, folder)
    for key in ("metainfo", "pipeline"):
        del source[key]  # those of the labelled set
    semi_config["sources"] = dict(pseudo=source)
    dataset = DATASETS.build(semi_config)
    assert dataset.counts == dict(labeled=4, unlabeled=8, pseudo=6)
    assert dataset.sources["pseudo"].classes == CLASSES
    sampler = MultiSourceSampler(dataset, dict(labeled=1, pseudo=3), seed=0)
    batch = pseudo_collate([dataset[draw] for draw in sampler.batch(0)])
    for i, sample in enumerate(batch["data_samples"]):  # one image is smaller than the crop
        if i == 1:
            batch["inputs"][i] = batch["inputs"][i][:, :20]
            for field in (sample.gt_sem_seg, sample.gt_confidence):
                field.set_field(field.data[:, :20], "data", dtype=torch.Tensor)
            sample.set_metainfo(dict(img_shape=(20, 32)))
    model = MODELS.build(
        dict(
            type="SelfTraining",
            weight=dict(type="MutualWeight", gamma1=1, gamma2=1),
            segmentor=segmentor_config,
            data_preprocessor=preprocessor_config,
        )
    )
    inputs = model.data_preprocessor(batch, training=True)["inputs"]
    pseudo = inputs.sources["pseudo"]
    assert (pseudo.labels_NHW[~pseudo.valid_NHW] == 255).all(), "padding is never admitted"
    losses = model(inputs, mode="loss")
    assert losses["sup.decode.loss_ce"] > 0 and 0 < losses["pseudo.admitted"] < 1


def test_alone_in_a_stock_config(data_root, folder, segmentor_config):
    """Without this package's model, sampler, packing or preprocessor."""
    stock = config(data_root, folder, pipeline=[*LOAD, *GEOMETRY, dict(type="PackSegInputs")])
    dataset = DATASETS.build(stock)
    batch = pseudo_collate([dataset[i] for i in range(4)])
    segmentor_config["data_preprocessor"] = dict(
        type="SegDataPreProcessor", size=(32, 32), mean=[110.0] * 3, std=[60.0] * 3, seg_pad_val=255
    )
    segmentor_config["decode_head"]["loss_decode"] = dict(
        type="CrossEntropyLoss", avg_non_ignore=True
    )
    model = MODELS.build(segmentor_config).train()
    data = model.data_preprocessor(batch, training=True)
    losses = model(**data, mode="loss")
    assert losses["decode.loss_ce"] > 0


def test_eight_bits_and_no_confidence(data_root, folder):
    Image.fromarray(np.full((36, 48), 51, np.uint8)).save(folder / "confidence/t00.png")
    (folder / "list.txt").write_text("t00\n")
    one = config(
        data_root,
        folder,
        ann_file=str(folder / "list.txt"),
        pipeline=[*LOAD, dict(type="PackSemiInputs")],
    )
    (sample,) = list(DATASETS.build(one))
    assert torch.allclose(sample["data_samples"].gt_confidence.data, torch.tensor(0.2))
    del one["data_prefix"]["conf_map_path"]
    assert "gt_confidence" not in DATASETS.build(one)[0]["data_samples"]


def test_mistakes_of_a_foreign_tool(data_root, folder):
    first = folder / "labels/t00.png"
    size = Image.open(first).size[::-1]
    plain = [*LOAD, dict(type="PackSemiInputs")]

    def load(**changes) -> None:
        DATASETS.build(config(data_root, folder, pipeline=plain, **changes))[0]

    Image.fromarray(np.full(size, 7, np.uint8)).save(first)
    with pytest.raises(DataError, match="value 7"):
        load()
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(first)
    with pytest.raises(DataError, match="colour"):
        load()
    Image.fromarray(np.zeros(size, np.uint8)).save(first)
    load()
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "confidence/t00.png")
    with pytest.raises(DataError, match="5x4"):
        load()
    (folder / "confidence/t00.png").unlink()
    with pytest.raises(DataError, match="no confidence 't00'"):
        load()
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "labels/other.png")
    with pytest.raises(DataError, match="no image 'other'"):
        load()
    with pytest.raises(DataError, match="does not exist"):
        load(data_prefix=dict(img_path=str(data_root / "images/train"), seg_map_path="nowhere"))
    with pytest.raises(ConfigError, match="seg_map_path"):
        load(data_prefix=dict(img_path=str(data_root / "images/train")))
    crooked = [*LOAD, dict(type="Pad", size=(64, 64)), dict(type="PackSemiInputs")]
    (folder / "list.txt").write_text("t01\n")
    with pytest.raises(ConfigError, match="Pad"):
        DATASETS.build(
            config(data_root, folder, pipeline=crooked, ann_file=str(folder / "list.txt"))
        )[0]


def test_draws_are_functions_of_their_seed(semi_config, data_root, folder):
    semi_config["sources"] = dict(pseudo=config(data_root, folder))
    dataset = DATASETS.build(semi_config)
    index = dataset.source_ranges["pseudo"][2]
    first, again = (dataset[Draw(index, 5)]["data_samples"].gt_confidence.data for _ in range(2))
    assert torch.equal(first, again)
