# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The training set of a semi-supervised run: several sources, each with a name.

The name (``labeled``, ``unlabeled``, ``gt``, ``pseudo``) is what sampler and preprocessor go
by; whether a mask is present decides nothing.
"""

from __future__ import annotations

import copy
import os.path as osp
import warnings
from functools import cached_property

import numpy as np
from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import print_log
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from ..errors import ConfigError, DataError
from .building import build_sources
from .pipelines import check_crop_size, seeded
from .samplers import Draw
from .splits import ids_sha256
from .transforms.loading import check_labels

# More broken images in a row than this are no accident.
_MAX_REDRAWS = 100


@DATASETS.register_module()
class SemiDataset(Dataset):
    """Labelled and unlabelled images, and any further named source, in one dataset.

    Args:
        labeled: Config of any mmseg dataset; its pipeline ends in ``PackSemiInputs`` (or the stock
            ``PackSegInputs``).
        unlabeled: Config of the unlabelled source, or ``None`` for none. Its ``pipeline`` defaults
            to :func:`weak_pipeline` of the labelled source. Where the images come from:

            - ``pool='rest'`` (default without a folder): the images that ``split`` left unlabelled;
            - ``pool='all'``: every image of the labelled dataset, the labelled ones included;
            - ``img_dir`` (and ``ann_file``, ``data_root``) of :class:`UnlabeledDataset`: another
              folder, without a pool unless ``pool`` is given too, then both.
        split: Config of the split that decides which images keep their masks, e.g.
            ``dict(type='RatioSplit', ratio=1/8, seed=0)``; ``None`` keeps all masks.
        sources: Configs of further sources by name, for methods that need them. With
            ``pool='labeled'`` a source draws the labelled images of the split once more, by its own
            ``pipeline``, e.g. ``dict(gt=dict(pool='labeled', pipeline=[...]))``; any other config is
            that of a data set of its own, which the split does not touch.
        crop_size: (height, width) of the training crop, or one number for both. It is given to each
            transform of the sources' pipelines, at any depth, that takes a ``crop_size`` and does
            not set it.
        max_unreadable: How many unreadable samples (missing or broken file, illegal mask) each
            loader worker may replace by another sample of the same source, with a warning that
            names the file. 0 stops at the first one.

    Attributes:
        sources: Name -> :class:`~mmsemi.datasets.sources.Source`: its data set, samples, paths, masks,
            classes and ignore value.
        source_ranges: Name -> global indices of the source's samples.
        labeled_ids, unlabeled_ids: Ids of the labelled data set as the split divides them.
        crop_size: (height, width), None if it was not given.

    Raises:
        DataError: A source has no image, or the split does not fit the data set.
        ConfigError: A setting is wrong, or a transform needs a crop size and has none.
    """

    def __init__(
        self,
        labeled: dict,
        unlabeled: dict | None = None,
        split: dict | None = None,
        sources: dict[str, dict] | None = None,
        crop_size: int | tuple[int, int] | None = None,
        max_unreadable: int = 0,
    ) -> None:
        self.max_unreadable = max_unreadable
        self._unreadable: set[str] = set()
        self.crop_size = check_crop_size(crop_size)
        built = build_sources(labeled, unlabeled, split, sources, self.crop_size)
        if built.errors:
            raise next(iter(built.errors.values()))
        self.sources = built.sources
        self.labeled_ids, self.unlabeled_ids = built.labeled_ids, built.unlabeled_ids
        self._all_labeled, self._split_name = built.all_labeled, built.split_name

        self.source_ranges: dict[str, range] = {}
        start = 0
        for name, source in self.sources.items():
            self.source_ranges[name] = range(start, start + len(source))
            start += len(source)
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        print_log(
            f"SemiDataset: {counts}; split {self._split_name}, "
            f"labelled ids sha256 {ids_sha256(self.labeled_ids)[:16]}",
            "current",
        )

    @property
    def split_info(self) -> dict[str, str | int]:
        """Name, counts and hashes of what is trained on; every checkpoint's meta holds it.

        ``unlabeled`` are the images of that source, which is the unlabelled part of the split unless
        the config chose another pool or folder.
        """
        return dict(self._split_info)

    @cached_property
    def _split_info(self) -> dict[str, str | int]:
        info: dict[str, str | int] = dict(name=self._split_name)
        for name in ("labeled", "unlabeled"):
            paths = self.img_paths(name) if name in self.sources else []
            info[name] = len(paths)
            info[f"{name}_sha256"] = ids_sha256(paths)
        return info

    @property
    def counts(self) -> dict[str, int]:
        """How many samples each source has."""
        return {name: len(source) for name, source in self.sources.items()}

    @property
    def metainfo(self) -> dict:
        """Classes and palette, those of the labelled source."""
        return copy.deepcopy(self._all_labeled.metainfo)

    def full_init(self) -> None:
        """Everything is loaded by the constructor; the runner calls this on every dataset."""

    def __len__(self) -> int:
        return sum(len(span) for span in self.source_ranges.values())

    def locate(self, index: int) -> tuple[str, BaseDataset, int]:
        """Source name, its dataset, and the index in that dataset, of a global index."""
        for name, span in self.source_ranges.items():
            if index in span:
                return name, *self.sources[name].locate(index - span.start)
        raise IndexError(f"index {index} is out of range, the dataset has {len(self)} samples")

    def get_data_info(self, index: int) -> dict:
        """Paths and settings of one sample, without loading it."""
        _, dataset, local = self.locate(index)
        return dataset.get_data_info(local)

    def labeled_info(self, img_path: str) -> dict | None:
        """Paths of an image of the labelled data set, also where the split left it unlabelled."""
        position = self._position_of.get(img_path)
        if position is None:
            return None
        dataset, index = self._all_labeled.locate(position)
        return dataset.get_data_info(index)

    @cached_property
    def _position_of(self) -> dict[str, int]:
        return {path: position for position, path in enumerate(self._all_labeled.img_paths)}

    def hidden_masks(self) -> list[str]:
        """Masks of the labelled data set whose images the split leaves unlabelled."""
        labeled = set(self.sources["labeled"].img_paths)
        items = (file for part in self._all_labeled.parts for file in part.files)
        return [mask for image, mask in items if mask and image not in labeled]

    def pipeline(self, source: str) -> Compose:
        """The transforms of a source; of several data sets in one, those of the first."""
        return self.sources[source].parts[0].dataset.pipeline

    def img_paths(self, source: str) -> list[str]:
        """All image paths of a source."""
        return self.sources[source].img_paths

    def masks(self, source: str) -> list[str]:
        """All masks that a source opens."""
        return self.sources[source].masks

    def __getitem__(self, item: Draw | int) -> dict:
        """Load one sample; a :class:`Draw` fixes everything random about it.

        Returns:
            ``{'inputs': (C, H, W) uint8, 'data_samples': SegDataSample}``; the sample's metainfo
            names its ``source`` and, for a draw, its ``draw_seed``.
        """
        if not isinstance(item, Draw):
            return self._load(item, seed=None)
        with seeded(item.seed):
            return self._load(item.index, item.seed)

    def _load(self, index: int, seed: int | None) -> dict:
        for _ in range(_MAX_REDRAWS):
            name, dataset, local = self.locate(index)
            span = self.source_ranges[name]
            try:
                sample = self.sources[name].load(index - span.start)
                if sample is None:
                    raise DataError("its pipeline returned nothing")
                self._check_labels(name, dataset, sample)
                meta = dict(source=name) if seed is None else dict(source=name, draw_seed=seed)
                sample["data_samples"].set_metainfo(meta)
                return sample
            except ConfigError:
                raise  # of the pipeline, whatever the image
            except Exception as error:
                path = dataset.get_data_info(local).get("img_path", f"number {local}")
                self._report_unreadable(name, path, error)
                # A pure function of the draw, like everything else about the sample.
                index = span[int(np.random.randint(len(span)))]
        raise DataError(
            f"{_MAX_REDRAWS} {name} images in a row cannot be used, the last one is "
            f"'{path}': repair the files, or take the broken ones out of the list"
        )

    @staticmethod
    def _check_labels(source: str, dataset: BaseDataset, sample: dict) -> None:
        """Refuse labels that no loss can mean, whichever transform or data set made them."""
        data = sample["data_samples"]
        if "gt_sem_seg" not in data:
            return
        if source == "unlabeled":
            raise ConfigError(
                "an unlabelled sample came with a mask: remove what loads masks from "
                "train_dataloader.dataset.unlabeled.pipeline"
            )
        classes = dataset.metainfo.get("classes")
        check_labels(
            data.gt_sem_seg.data.numpy(),
            tuple(sample["inputs"].shape[-2:]),
            len(classes) if classes else None,
            getattr(dataset, "ignore_index", 255),
        )

    def _report_unreadable(self, source: str, path: str, error: Exception) -> None:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        message = f"{source} image '{path}' cannot be used: {reason}"
        self._unreadable.add(path)
        if len(self._unreadable) <= self.max_unreadable:
            warnings.warn(f"{message} (replaced by another {source} image)", stacklevel=2)
            return
        if not osp.exists(path):
            message = f"{source} image '{path}' does not exist"
        hint = (
            f"{len(self._unreadable)} unreadable samples in one loader worker, "
            f"train_dataloader.dataset.max_unreadable allows {self.max_unreadable}"
            if self.max_unreadable
            else "repair or remove it, or set train_dataloader.dataset.max_unreadable to skip a few"
        )
        raise DataError(f"{message} ({hint})") from error
