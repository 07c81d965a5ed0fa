# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Pictures and ``result.txt``: known answers, names, and two processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.datasets import PascalVOCDataset
from mmseg.evaluation import IoUMetric
from PIL import Image

from mmsemi.errors import ConfigError, DataError
from mmsemi.evaluation import ResultFiles, ScoreTable
from mmsemi.evaluation.result_files import result_text

CLASSES = ("background", "cat", "dog")
META = dict(classes=CLASSES, palette=[[0, 0, 0], [128, 0, 0], [0, 128, 0]])

# docs/methods/advsemiseg.md#mean-iou-and-palette: rows are labels, columns predictions.
CONFUSION = torch.tensor([[5, 1, 0], [2, 2, 0], [0, 1, 0]])


def maps_of(confusion: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A label map and a prediction with this confusion matrix, and one ignored pixel."""
    pairs = [(i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) for _ in range(n)]
    labels, predictions = torch.tensor([*pairs, (255, 1)]).T
    return labels[None], predictions[None]


def write(out_dir: Path, samples: list[dict], meta: dict = META, **settings) -> dict:
    metric = ResultFiles(str(out_dir), **settings)
    metric.dataset_meta = meta
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def test_the_mean_leaves_out_only_classes_absent_from_both(predict, tmp_path) -> None:
    labels, predictions = maps_of(CONFUSION)
    metrics = write(tmp_path, [predict(predictions, labels)])
    assert metrics["mIoU"] == pytest.approx(31.94, abs=0.005)
    intersect, union = CONFUSION.diag(), CONFUSION.sum(0) + CONFUSION.sum(1) - CONFUSION.diag()
    ious = intersect / union
    torch.testing.assert_close(ious, torch.tensor([0.625, 1 / 3, 0.0]))
    # What the references report of the same numbers: AdvSemiSeg leaves out classes without a hit,
    # s4GAN divides by all classes.
    assert ious[ious > 0].mean().item() == pytest.approx(0.4791667)
    assert ious.nansum().item() / 3 == pytest.approx(0.3194444)
    assert ious.nansum().item() / 4 == pytest.approx(0.2395833)
    expected = (
        "class  0 background   IU 0.62\n"
        "class  1 cat          IU 0.33\n"
        "class  2 dog          IU 0.00\n"
        "meanIOU: 0.3194444444444444\n"
    )
    assert (tmp_path / "result.txt").read_text() == expected
    # A fourth class, absent from both: a line of its own and no part of the mean.
    text = result_text(
        [*CLASSES, "a name longer than it"],
        *(torch.cat([part, torch.zeros(1)]) for part in (intersect, union)),
    )
    assert text == expected.replace("meanIOU", "class  3 a name longer than it IU nan\nmeanIOU")


def test_the_text_agrees_with_mmseg(predict, tmp_path) -> None:
    generator = torch.Generator().manual_seed(0)
    samples = [
        predict(*torch.randint(0, 3, (2, 20, 30), generator=generator), path=f"{i}.png")
        for i in range(4)
    ]
    metrics = write(tmp_path, samples)
    stock = IoUMetric()
    stock.dataset_meta = META
    stock.process({}, samples)
    assert metrics == stock.evaluate(4)
    mean = float((tmp_path / "result.txt").read_text().split("meanIOU: ")[1])
    assert round(100 * mean, 2) == metrics["mIoU"]


def test_pixel_counts_of_a_large_set_are_not_rounded() -> None:
    intersect, union = (
        torch.tensor([2.0**24 + 1, 1], dtype=torch.float64),
        torch.tensor([2.0**24 + 3, 1], dtype=torch.float64),
    )
    text = result_text(("a", "b"), intersect, union)
    assert float(text.split("meanIOU: ")[1]) == (1 + (2**24 + 1) / (2**24 + 3)) / 2


def test_a_set_without_a_labelled_pixel_has_no_mean() -> None:
    assert result_text(("a",), torch.zeros(1), torch.zeros(1)).endswith("meanIOU: nan\n")


def test_pictures_show_the_palette_and_hold_the_indices(tmp_path) -> None:
    """docs/methods/advsemiseg.md#mean-iou-and-palette, the colours of Pascal VOC."""
    expected = {
        0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 8: (64, 0, 0),
        15: (192, 128, 128), 20: (0, 64, 128),
    }  # fmt: skip
    labels = torch.arange(21).reshape(3, 7)
    logits = torch.nn.functional.one_hot(labels, 21).permute(2, 0, 1).float()
    sample = dict(
        img_path="x/2007_000033.jpg",
        seg_logits=dict(data=logits),
        pred_sem_seg=dict(data=labels[None]),
        gt_sem_seg=dict(data=labels[None]),
    )
    write(tmp_path, [sample], dict(PascalVOCDataset.METAINFO))
    picture = Image.open(tmp_path / "2007_000033.png")
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), labels.numpy())
    colours = np.asarray(picture.convert("RGB")).reshape(21, 3)
    for index, colour in expected.items():
        assert tuple(colours[index]) == colour


def test_images_of_one_name_keep_a_picture_each(predict, tmp_path) -> None:
    maps = [torch.full((2, 2), value) for value in range(3)]
    paths = ["set/a/1.png", "set/b/1.png", "set/b/2.png"]
    write(tmp_path, [predict(m, path=p) for m, p in zip(maps, paths)])
    found = {
        str(path.relative_to(tmp_path)): int(np.asarray(Image.open(path))[0, 0])
        for path in tmp_path.rglob("*.png")
    }
    assert found == {"a/1.png": 0, "b/1.png": 1, "b/2.png": 2}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "b", "result.txt"]


def test_an_image_that_occurs_twice_takes_no_picture_of_another(predict, tmp_path) -> None:
    values = dict(a=0, b=1, c=2)
    write(tmp_path, [predict(torch.full((2, 2), values[n]), path=f"s/{n}.png") for n in "aabc"])
    found = {p.stem: int(np.asarray(Image.open(p))[0, 0]) for p in tmp_path.glob("*.png")}
    assert found == values


def test_images_that_differ_in_their_suffix_are_refused(predict, tmp_path) -> None:
    samples = [predict(torch.zeros(2, 2, dtype=torch.long), path=p) for p in ("s/1.png", "s/1.jpg")]
    with pytest.raises(DataError, match=r"'s/1.*' and 's/1.*'"):
        write(tmp_path, samples)


def test_an_earlier_run_is_replaced_and_its_rests_go(predict, tmp_path) -> None:
    (tmp_path / ".unnamed-0").mkdir()
    (tmp_path / ".unnamed-0" / "7.png").write_text("of a killed run")
    metric = ResultFiles(str(tmp_path))
    metric.dataset_meta = META
    for value in (1, 2):  # the same metric twice, as in two validations
        metric.process({}, [predict(torch.full((2, 2), value), path="s/1.png")])
        metric.evaluate(1)
        assert np.asarray(Image.open(tmp_path / "1.png"))[0, 0] == value
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1.png", "result.txt"]


def test_images_without_masks_get_pictures_only(predict, tmp_path) -> None:
    sample = predict(torch.ones(2, 2, dtype=torch.long))
    del sample["gt_sem_seg"]
    assert write(tmp_path, [sample], format_only=True) == {}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_gated_pictures(make_sample, tmp_path) -> None:
    """docs/methods/s4gan.md#fusion: text and picture show the gated map."""
    scores = tmp_path / "scores.npz"
    ScoreTable(CLASSES, dict(a=[1, 0, 1])).save(scores)
    logits = torch.tensor([-0.5, -0.2, -1.0])[:, None, None]
    sample = make_sample(logits, torch.tensor([[0]]))
    assert write(tmp_path / "gated", [sample], gate=dict(scores=str(scores)))["mIoU"] == 100
    assert write(tmp_path / "plain", [sample])["mIoU"] == 0
    values = [int(np.asarray(Image.open(tmp_path / n / "a.png"))[0, 0]) for n in ("gated", "plain")]
    assert values == [0, 1]


@pytest.mark.parametrize(
    "meta, colours",
    [
        (dict(classes=CLASSES), "3 .* 0"),
        (dict(classes=CLASSES, palette=META["palette"][:2]), "3 .* 2"),
    ],
)
def test_a_palette_is_needed(predict, tmp_path, meta, colours) -> None:
    with pytest.raises(ConfigError, match=colours):
        write(tmp_path, [predict(torch.zeros(2, 2, dtype=torch.long))], meta)


def test_typos_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="'gates'"):
        ResultFiles(str(tmp_path), gates=dict())


def write_on_this_rank(out_dir: str) -> dict:
    """Two processes: images of one name, and the padded last image on both."""
    import torch.distributed as dist

    rank = dist.get_rank()
    metric = ResultFiles(out_dir)
    metric.dataset_meta = META
    paths = [["set/a/1.png", "set/c/2.png"], ["set/b/1.png", "set/a/1.png"]][rank]
    values = [[0, 2], [1, 0]][rank]
    for path, value in zip(paths, values):
        labels = torch.full((1, 2, 2), value)
        sample = dict(img_path=path, pred_sem_seg=dict(data=labels), gt_sem_seg=dict(data=labels))
        metric.process({}, [sample])
    return metric.evaluate(3)


def test_two_processes(gloo_pool, tmp_path) -> None:
    results = gloo_pool.run(write_on_this_rank, str(tmp_path))
    assert results[0] == results[1] and results[0]["mIoU"] == 100
    found = {
        str(path.relative_to(tmp_path)): int(np.asarray(Image.open(path))[0, 0])
        for path in tmp_path.rglob("*.png")
    }
    assert found == {"a/1.png": 0, "b/1.png": 1, "c/2.png": 2}
    assert (tmp_path / "result.txt").read_text().count("IU 1.00") == 3
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "b", "c", "result.txt"]


@pytest.mark.parametrize(
    "paths",
    [
        ("set/a/1.png", "set/a/../../../1.png"),
        ("set/a/1.png", "set/a/..\\..\\1.png"),
        ("/set/a/1.png", "/set/a/../../1.png"),
    ],
)
def test_no_picture_leaves_the_folder(predict, tmp_path, paths) -> None:
    out = tmp_path / "a/b/c"
    with pytest.raises(DataError, match="leads out"):
        write(out, [predict(torch.zeros(2, 2, dtype=torch.long), path=path) for path in paths])
    outside = [path for path in tmp_path.rglob("*.png") if out not in path.parents]
    assert not outside and not Path("1.png").exists()
