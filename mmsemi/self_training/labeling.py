# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A folder of pseudo-labels from a model and a list of images.

    OUT/labels/<id>.png          class indices, the ignored value where the pixel is not admitted
    OUT/confidence/<id>.png      16 bits, 65535 is certainty; rounded up
    OUT/thresholds.json          written last: thresholds, counts, admitted shares, what could not be read
    OUT/settings.json            what the labels were made of; other settings are refused
    OUT/work/                    what is finished, until all is

Decisions:

- Two passes over the images, as published: the first one samples confidences, the second one, which knows
  the thresholds, writes. Where every pixel is admitted there is no first one.
- Images go in shards of a fixed number. A shard leaves a file when it is done, so that a call that was
  killed goes on there, and processes share the work through the folder. Which images share a batch never
  depends on what was done before, so neither do the labels.
- No mask is opened here. :func:`compare_with_masks` does so, and only when it is called.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import barrier, get_dist_info
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ..datasets.files import common_folder, relative_ids
from ..errors import ConfigError, DataError, MachineError
from ..models.semi_model import SemiModel
from ..utils.files import path_below, write_beside
from .thresholds import (
    RULES,
    Confidences,
    Histograms,
    PixelSampler,
    SortedConfidences,
    assign,
    class_thresholds,
)

LABELS, CONFIDENCE, THRESHOLDS, SETTINGS = (
    "labels",
    "confidence",
    "thresholds.json",
    "settings.json",
)
_WORK = "work"
_SHARD = 8  # batches
#: Bytes of a pixel on disk: measured of labels 0.02 to 0.2, of confidences 0.3 to 1.9.
_LABEL_BYTES, _CONFIDENCE_BYTES = 0.25, 2.0
_MEASURED_IMAGES = 64
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


@dataclass(frozen=True)
class LabelSettings:
    """How images are labelled.

    Attributes:
        ratio: Share of the pixels of each class to admit.
        assign: ``'argmax'``, ``'ratio'`` (see :func:`~mmsemi.self_training.thresholds.assign`), or
            ``'all'``: every pixel, whatever the ratio.
        per_class: False: one threshold for all classes.
        sampling: Which pixels the thresholds are made of, see
            :class:`~mmsemi.self_training.thresholds.PixelSampler`.
        stride: Pixels to one of these.
        seed: Of a random sampling.
        exact: Sort every sampled confidence instead of counting them in bins.
        batch_size: Images of one forward.
        scales: Scales of the image whose probabilities are summed.
        flip: Also sum those of the flipped image.
        confidence: Write confidences.

    Raises:
        ConfigError: A value is out of its range.
    """

    ratio: float = 1.0
    assign: str = "argmax"
    per_class: bool = True
    sampling: str = "random"
    stride: int = 16
    seed: int = 0
    exact: bool = False
    batch_size: int = 8
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    confidence: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if self.assign not in (*RULES, "all"):
            raise ConfigError(f"assign={self.assign!r} is none of {', '.join((*RULES, 'all'))}")
        if not 0 < self.ratio <= 1:
            raise ConfigError(f"ratio={self.ratio} must be in (0, 1]")
        if self.assign == "all" and self.ratio != 1:
            raise ConfigError(
                f"assign='all' admits every pixel, ratio={self.ratio} would not be used"
            )
        if self.batch_size < 1:
            raise ConfigError(f"batch_size={self.batch_size} must be at least 1")
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"scales={self.scales} must be numbers above 0")
        self.sampler()

    def sampler(self) -> PixelSampler:
        """Chooses the pixels of the first pass."""
        return PixelSampler(self.sampling, self.stride, self.seed)

    def collector(self, num_classes: int) -> Confidences:
        """Takes them."""
        kind = SortedConfidences if self.exact else Histograms
        return kind(num_classes, self.per_class)


class Unreadable(NamedTuple):
    """An image that could not be used, and why."""

    path: str
    reason: str


class _Images(Dataset):
    """The samples of a plain data set by number; an unreadable image is told, not raised."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> dict | Unreadable:
        info = self.dataset.get_data_info(number)
        try:
            sample = self.dataset.pipeline(info)
            if sample is None:
                raise DataError("its pipeline returned nothing")
            return dict(sample, number=number)
        except ConfigError:
            raise  # of the pipeline, whatever the image
        except Exception as error:  # decoders raise many types for broken data
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            return Unreadable(self.dataset.get_data_info(number)["img_path"], reason)


def probabilities(
    model: nn.Module, samples: Sequence[dict], scales: Sequence[float] = (1.0,), flip: bool = False
) -> list[Tensor]:
    """Class probabilities (C, H, W) float32 of images at their own size, without gradient.

    With several scales, or the flipped image, the probabilities of all are averaged, as ST++ sums them:
    the normalised image is resized, and the probabilities are resized back.

    Args:
        model: In eval mode, on its device; a method or any mmseg segmentor.
        samples: What the test pipeline gives: ``inputs`` and ``data_samples``.
        scales: Of the image.
        flip: Also the image flipped from left to right.
    """
    found: list[Tensor | None] = [None] * len(samples)
    groups: dict[Any, list[int]] = {}
    for i, sample in enumerate(samples):
        key = (*sample["inputs"].shape, *sample["data_samples"].metainfo["ori_shape"])
        groups.setdefault(key, []).append(i)
    for members in groups.values():
        data = dict(
            inputs=[samples[i]["inputs"] for i in members],
            data_samples=[samples[i]["data_samples"] for i in members],
        )
        with torch.no_grad():
            data = model.data_preprocessor(data, False)
            if tuple(scales) == (1.0,) and not flip:
                results = model.predict(data["inputs"], data["data_samples"])
                maps = [_to_probabilities(one.seg_logits.data[None])[0] for one in results]
            else:
                maps = _summed(model, data["inputs"], data["data_samples"], scales, flip)
        for i, prob_CHW in zip(members, maps):
            found[i] = prob_CHW
    return found


def _to_probabilities(logits_NCHW: Tensor) -> Tensor:
    if logits_NCHW.shape[1] > 1:
        return logits_NCHW.float().softmax(1)
    # mmseg's prediction of a net with one output channel is its sigmoid already.
    return torch.cat([1 - logits_NCHW, logits_NCHW], 1).float()


def _summed(
    model: nn.Module, x_NCHW: Tensor, samples: list, scales: Sequence[float], flip: bool
) -> list[Tensor]:
    nets = [model]
    if isinstance(model, SemiModel):
        nets = model.networks() if model.predict_on == "ensemble" else [model.network()]
    height, width = x_NCHW.shape[-2:]
    total = 0.0
    for scale in scales:
        size = (int(height * scale), int(width * scale))
        resized = F.interpolate(x_NCHW, size, mode="bilinear", align_corners=True)
        metas = [dict(s.metainfo, img_shape=size, pad_shape=size, ori_shape=size) for s in samples]
        for flipped in (False, True) if flip else (False,):
            view = resized.flip(-1) if flipped else resized
            for net in nets:
                logits = net.inference(view, metas)
                if logits.shape[1] == 1:
                    logits = logits.sigmoid()
                prob = _to_probabilities(logits)
                prob = prob.flip(-1) if flipped else prob
                total = total + F.interpolate(
                    prob, (height, width), mode="bilinear", align_corners=True
                )
    total = total / total.sum(1, keepdim=True)
    maps = []
    for prob_CHW, sample in zip(total, samples):
        left, right, top, bottom = sample.metainfo.get("img_padding_size", (0, 0, 0, 0))
        prob_CHW = prob_CHW[:, top : height - bottom, left : width - right]
        size = tuple(sample.metainfo["ori_shape"][:2])
        if size != tuple(prob_CHW.shape[-2:]):
            prob_CHW = F.interpolate(prob_CHW[None], size, mode="bilinear", align_corners=True)[0]
        maps.append(prob_CHW)
    return maps


def encode_confidence(confidence_HW: np.ndarray) -> np.ndarray:
    """Confidences as they are stored: uint16, rounded up, so that a tie stays one in DMT's comparison."""
    return np.ceil(confidence_HW.astype(np.float64) * 65535).clip(0, 65535).astype(np.uint16)


def image_ids(img_paths: Sequence[str]) -> list[str]:
    """Names of labels: image paths below their common folder, without suffix.

    Raises:
        DataError: Two images would have one name.
    """
    ids = relative_ids(list(img_paths))
    seen: dict[str, str] = {}
    for name, path in zip(ids, img_paths):
        if name in seen:
            raise DataError(
                f"'{seen[name]}' and '{path}' would have one label, '{name}.png': rename one of them"
            )
        seen[name] = path
    return ids


class Labeler:
    """Labels the images of a data set into a folder; see the module.

    Args:
        model: In eval mode, on its device.
        dataset: A plain data set of images whose pipeline is that of a test, without masks.
        ids: Name of the label of each image.
        out: The folder.
        settings: How.
        origin: What the labels depend on besides the settings, e.g. hashes of checkpoint and config.
        classes: Names.
        ignore_index: Value of pixels that are not admitted, in [0, 255].
        workers: Processes that read images.

    Raises:
        ConfigError: There are more classes than 8 bits tell apart, or the folder holds other labels.
        DataError: There is no image.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        ids: Sequence[str],
        out: str | os.PathLike,
        settings: LabelSettings,
        origin: dict[str, Any],
        classes: Sequence[str],
        ignore_index: int = 255,
        workers: int = 2,
    ) -> None:
        self.num_classes = max(2, model.out_channels)
        if self.num_classes > 255 or not self.num_classes <= ignore_index <= 255:
            raise ConfigError(
                f"{self.num_classes} classes and the ignored value {ignore_index} do not fit into 8 bits"
            )
        if not len(dataset):
            raise DataError("there is no image to label")
        self.model, self.dataset, self.ids, self.out = model, dataset, list(ids), Path(out)
        self.settings, self.ignore_index, self.workers = settings, ignore_index, workers
        self.classes = [*classes, *map(str, range(len(classes), self.num_classes))]
        digest = hashlib.sha256("\n".join(self.ids).encode()).hexdigest()
        self.record = dict(origin, settings=asdict(settings), images_sha256=digest)
        self.record["images"] = len(self.ids)
        self.record = json.loads(json.dumps(self.record))
        self.rank, self.world_size = get_dist_info()
        size = settings.batch_size
        batches = [list(range(i, min(i + size, len(ids)))) for i in range(0, len(ids), size)]
        self.shards = [batches[i : i + _SHARD] for i in range(0, len(batches), _SHARD)]

    # ---------------------------------------------------------------- the whole

    def run(self) -> dict[str, Any]:
        """Label what is not labelled yet.

        Returns:
            What ``thresholds.json`` holds.

        Raises:
            ConfigError: The folder holds labels that were made otherwise.
            MachineError: The labels would not fit on the disk.
            DataError: No image can be read.
        """
        report = self._take_folder()
        if report is not None:
            return report
        cfg, thresholds, collected = self.settings, None, None
        if cfg.assign != "all":
            self._pass("confidences", "npz", self._sample)
            collected = cfg.collector(self.num_classes)
            for path in self._files("confidences", "npz"):
                with np.load(path) as state:
                    collected.merge(dict(state))
            thresholds = class_thresholds(collected, cfg.ratio, cfg.assign, self.num_classes)
        self._thresholds = thresholds
        self._pass("labels", "json", self._write)
        parts = [json.loads(path.read_text()) for path in self._files("labels", "json")]
        predicted = np.sum([part["predicted"] for part in parts], 0)
        admitted = np.sum([part["admitted"] for part in parts], 0)
        unreadable = [Unreadable(*one) for part in parts for one in part["unreadable"]]
        if len(unreadable) == len(self.ids):
            raise DataError(
                f"none of the {len(self.ids)} images can be read, the first is '{unreadable[0].path}': "
                f"{unreadable[0].reason}"
            )
        report = self._report(thresholds, collected, predicted, admitted, unreadable)
        if self.rank == 0:
            _write_json(self.out / THRESHOLDS, report)
            shutil.rmtree(self.out / _WORK)
        barrier()
        return report

    def _take_folder(self) -> dict[str, Any] | None:
        """The report of a folder that is finished; else make it ready."""
        path = self.out / SETTINGS
        if path.is_file():
            known = json.loads(path.read_text())
            if known != self.record:
                other = [k for k in self.record if known.get(k) != self.record[k]]
                raise ConfigError(
                    f"'{self.out}' holds labels of another {' and '.join(other) or 'run'}: give another "
                    "folder, or remove it"
                )
        elif self.out.is_dir() and any(self.out.iterdir()):
            raise ConfigError(
                f"'{self.out}' is not empty and holds no labels of this command (it has no {SETTINGS}): "
                "give another folder, or remove it"
            )
        barrier()
        if (self.out / THRESHOLDS).is_file():
            return json.loads((self.out / THRESHOLDS).read_text())
        if self.rank == 0:
            check_disk(self._paths(), self.out, self.settings.confidence)
            _write_json(path, self.record)
            (self.out / _WORK).mkdir(exist_ok=True)
        barrier()
        return None

    def _paths(self) -> list[str]:
        return [self.dataset.get_data_info(i)["img_path"] for i in range(len(self.dataset))]

    def _report(
        self,
        thresholds: list[float] | None,
        collected: Confidences | None,
        predicted: np.ndarray,
        admitted: np.ndarray,
        unreadable: list[Unreadable],
    ) -> dict[str, Any]:
        sampled = collected.counts() if collected is not None else [0]
        if len(sampled) == 1:
            sampled = sampled * self.num_classes
        classes = [
            dict(
                name=name,
                threshold=None if thresholds is None else thresholds[number],
                sampled=int(sampled[number]),
                predicted=int(predicted[number]),
                admitted=int(admitted[number]),
                share=float(admitted[number] / predicted[number]) if predicted[number] else None,
            )
            for number, name in enumerate(self.classes[: self.num_classes])
        ]
        return dict(
            images=len(self.ids) - len(unreadable),
            admitted=float(admitted.sum() / max(1, predicted.sum())),
            classes=classes,
            unreadable=[one._asdict() for one in unreadable],
            **self.record["settings"],
        )

    # ---------------------------------------------------------------- passes

    def _files(self, name: str, suffix: str) -> list[Path]:
        return [self.out / _WORK / f"{name}_{i:05d}.{suffix}" for i in range(len(self.shards))]

    def _pass(
        self, name: str, suffix: str, work: Callable[[Iterator[list], int, Path], None]
    ) -> None:
        """Give each shard that has no file yet to ``work``, which writes it."""
        files = self._files(name, suffix)
        own = range(self.rank, len(self.shards), self.world_size)
        todo = [i for i in own if not files[i].is_file()]
        batches = [batch for i in todo for batch in self.shards[i]]
        loader = DataLoader(
            _Images(self.dataset),
            batch_sampler=batches,
            num_workers=min(self.workers, len(batches)),
            collate_fn=list,
        )
        progress = Progress(name, sum(map(len, batches)), self.rank == 0)
        with ThreadPoolExecutor(2) as self._pool:
            loaded = iter(progress.watch(loader)) if batches else iter(())
            for i in todo:
                work(loaded, len(self.shards[i]), files[i])
        barrier()

    def _predicted(self, loaded: Iterator[list], count: int) -> Iterator[tuple[list, list]]:
        """Readable samples of the next batches with their probabilities, and the unreadable ones."""
        for _ in range(count):
            items = next(loaded)
            broken = [item for item in items if isinstance(item, Unreadable)]
            samples = [item for item in items if not isinstance(item, Unreadable)]
            maps = probabilities(self.model, samples, self.settings.scales, self.settings.flip)
            yield list(zip(samples, maps)), broken

    def _sample(self, loaded: Iterator[list], count: int, path: Path) -> None:
        collected = self.settings.collector(self.num_classes)
        sampler = self.settings.sampler()
        for pairs, _ in self._predicted(loaded, count):
            tops = [prob_CHW.flatten(1).max(0) for _, prob_CHW in pairs]
            sizes = [len(top.values) for top in tops]
            chosen = sampler(sizes, [sample["number"] for sample, _ in pairs])
            for top, where in zip(tops, chosen):
                index = torch.from_numpy(where).to(top.values.device)
                label, confidence = top.indices[index].cpu(), top.values[index].cpu()
                collected.add(label.numpy().astype(np.uint8), confidence.numpy())
        write_beside(path, lambda file: np.savez(file, **collected.state()))

    def _write(self, loaded: Iterator[list], count: int, path: Path) -> None:
        predicted = np.zeros(self.num_classes, np.int64)
        admitted, unreadable, jobs = predicted.copy(), [], []
        for pairs, broken in self._predicted(loaded, count):
            unreadable += broken
            for sample, prob_CHW in pairs:
                if self._thresholds is None:
                    top = prob_CHW.max(0)
                    label_HW, confidence_HW = top.indices.to(torch.uint8), top.values
                else:
                    label_HW, confidence_HW = assign(
                        prob_CHW, self._thresholds, self.settings.assign, self.ignore_index
                    )
                class_HW = prob_CHW.argmax(0)
                predicted += _count(class_HW, self.num_classes)
                # By the likeliest class, which the rule 'ratio' may replace.
                admitted += _count(class_HW[label_HW != self.ignore_index], self.num_classes)
                name = self.ids[sample["number"]]
                maps = [(LABELS, label_HW.cpu().numpy())]
                if self.settings.confidence:
                    maps.append((CONFIDENCE, encode_confidence(confidence_HW.cpu().numpy())))
                for folder, array in maps:
                    file = path_below(self.out / folder, f"{name}.png")
                    jobs.append(self._pool.submit(_write_png, file, array))
        for job in jobs:
            job.result()
        for one in unreadable:
            print(f"'{one.path}' cannot be read and gets no label: {one.reason}", file=sys.stderr)
        _write_json(
            path,
            dict(predicted=predicted.tolist(), admitted=admitted.tolist(), unreadable=unreadable),
        )


def _count(label_HW: Tensor, num_classes: int) -> np.ndarray:
    return torch.bincount(label_HW.flatten().long(), minlength=256)[:num_classes].cpu().numpy()


def _write_json(path: Path, content: dict) -> None:
    text = json.dumps(content, indent=1) + "\n"
    write_beside(path, lambda file: file.write(text.encode()))


def _write_png(path: Path, array_HW: np.ndarray) -> None:
    encoded = cv2.imencode(".png", array_HW)[1].tobytes()
    write_beside(path, lambda file: file.write(encoded))


def check_disk(img_paths: Sequence[str], out: Path, confidence: bool) -> int:
    """Estimate what the labels of images take, and compare it with what is free.

    Args:
        img_paths: All images; the sizes of some of them are read.
        out: The folder, which need not exist.
        confidence: Whether confidences are written, too.

    Returns:
        The estimate in bytes.

    Raises:
        MachineError: It is more than is free.
    """
    step = -(-len(img_paths) // _MEASURED_IMAGES)
    pixels = []
    for path in img_paths[::step]:
        try:
            with Image.open(path) as image:
                pixels.append(image.width * image.height)
        except (OSError, ValueError, Image.DecompressionBombError):
            continue  # loading it says why
    each = _LABEL_BYTES + (_CONFIDENCE_BYTES if confidence else 0)
    needed = int(np.mean(pixels or [0]) * len(img_paths) * each)
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    print(
        f"{len(img_paths)} images, about {_size(needed)} of labels; {_size(free)} are free",
        flush=True,
    )
    if needed > free:
        raise MachineError(
            f"the labels need about {_size(needed)}, '{out}' has {_size(free)}: make room, name a folder on "
            "another disk, or leave out the confidences (--no-confidence)"
        )
    return needed


def _size(number: int) -> str:
    unit, divisor = next((u for u in _UNITS if number >= u[1]), _UNITS[-1])
    return f"{number / divisor:.1f} {unit}"


class Progress:
    """A line that is rewritten on a terminal, or a line now and then elsewhere.

    Args:
        name: Of what is done.
        total: Number of images.
        shown: Whether anything is printed.
    """

    def __init__(self, name: str, total: int, shown: bool = True) -> None:
        self.name, self.total, self.shown = name, total, shown and total > 0

    def watch(self, batches: Any) -> Iterator[list]:
        """The batches, counted."""
        done, last, started = 0, 0.0, time.monotonic()
        terminal = sys.stdout.isatty()
        for batch in batches:
            yield batch
            done += len(batch)
            now = time.monotonic()
            if self.shown and (done >= self.total or now - last >= (0.2 if terminal else 20)):
                last, left = now, (now - started) / done * (self.total - done)
                text = f"{self.name}: {done}/{self.total} images, {left:.0f} s left"
                print(f"\r{text}  " if terminal else text, end="" if terminal else "\n", flush=True)
        if self.shown and terminal:
            print()


def label_folders(out: str | os.PathLike, img_paths: Sequence[str]) -> dict[str, str]:
    """``data_prefix`` of a :class:`~mmsemi.datasets.PseudoLabelDataset` for a folder made here.

    Args:
        out: The folder.
        img_paths: All images that the ids were made of.
    """
    folders = dict(img_path=common_folder(list(img_paths)), seg_map_path=str(Path(out, LABELS)))
    if Path(out, CONFIDENCE).is_dir():
        folders["conf_map_path"] = str(Path(out, CONFIDENCE))
    return folders


def compare_with_masks(
    out: Path, masks: dict[str, Callable[[], np.ndarray]], num_classes: int, ignore_index: int
) -> dict[str, float]:
    """Accuracy and mIoU, in percent, of the admitted labels against masks: for people, not for training.

    Args:
        out: The folder.
        masks: Loads the mask (H, W) of an image, by the id of the image.
        num_classes: Classes.
        ignore_index: Value without a class, in both.
    """
    confusion = np.zeros((num_classes, num_classes), np.int64)
    for name, load in masks.items():
        path = path_below(out / LABELS, f"{name}.png")
        if not path.is_file():
            continue
        label = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        truth = load()
        valid = (label != ignore_index) & (truth != ignore_index)
        pairs = truth[valid].astype(np.int64) * num_classes + label[valid]
        confusion += np.bincount(pairs, minlength=num_classes**2).reshape(confusion.shape)
    hits = np.diag(confusion).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = 100 * hits / union
    return dict(
        accuracy=float(100 * hits.sum() / max(1, confusion.sum())), mIoU=float(np.nanmean(iou))
    )
