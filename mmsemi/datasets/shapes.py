# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The built-in data set "shapes": generated on first use, read like Pascal VOC."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..errors import ConfigError, DataError
from .shapes_generator import CLASSES, GENERATOR_VERSION, MARKER, PALETTE, SPLITS, write_shapes

try:
    import fcntl
except ImportError:  # Windows: the rename alone keeps it correct, ranks only repeat the work
    fcntl = None


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Let one process at a time work in ``folder``; the kernel frees the lock if it is killed.

    Yields:
        Whether the file system gave the lock.
    """
    if fcntl is None:
        yield False
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            locked = True
        except OSError:  # some network file systems have no locks
            locked = False
        yield locked
    finally:
        os.close(handle)


def check_shapes(data_root: str | os.PathLike, wanted: dict | None = None) -> None:
    """Check that a folder holds a complete "shapes" data set.

    Args:
        data_root: The folder.
        wanted: Values that its marker must have ('seed', 'num_train',
            'num_val'), or None to accept any.

    Raises:
        DataError: Something is missing or was made with other settings. The line names the
            folder and the fix.
    """
    root = Path(data_root)
    fix = (
        f"remove {root} and start again (it is generated anew), or run "
        f"`python tools/make_shapes.py --out {root} --overwrite`"
    )
    try:
        marker = json.loads((root / MARKER).read_text())
        version, names = marker["version"], {}
        for split in SPLITS:
            path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
            names[split] = path.read_text().split()
            if len(names[split]) != marker[f"num_{split}"]:
                raise ValueError(f"{path} lists {len(names[split])} images")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{root} exists but is not a complete "shapes" data set ({error}): {fix}'
        ) from error
    if version != GENERATOR_VERSION:
        raise DataError(
            f'{root} was made by version {version} of the "shapes" generator, '
            f"this is version {GENERATOR_VERSION}: {fix}"
        )
    for key, value in (wanted or {}).items():
        if marker.get(key) != value:
            raise DataError(
                f"{root} was made with {key}={marker.get(key)}, the config asks for {key}={value}: "
                f"give another data_root, or {fix}"
            )
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        present = set(os.listdir(root / folder)) if (root / folder).is_dir() else set()
        for name in names["train"] + names["val"]:
            if name + suffix not in present:
                raise DataError(
                    f"{root} exists but is incomplete, {root / folder / (name + suffix)} "
                    f"is missing: {fix}"
                )


def prepare_shapes(
    data_root: str | os.PathLike, seed: int = 0, num_train: int = 256, num_val: int = 100
) -> bool:
    """Generate the data set at ``data_root`` unless something is there already.

    The pictures are written into a temporary folder beside the target, which is renamed when
    complete: a killed process leaves no half data set, and several processes may call this at once.

    Returns:
        Whether this process generated it.
    """
    # A link may point to where the data shall lie; the rename must happen on that file system.
    root = Path(os.path.realpath(data_root))
    if _filled(root):
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    with _locked(root.parent) as locked:
        if _filled(root):  # another process was faster
            return False
        prefix = f".{root.name}.tmp-"
        if locked:  # what is left here now belongs to a killed process
            for leftover in root.parent.glob(f"{prefix}*"):
                shutil.rmtree(leftover, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=root.parent))
        try:
            temporary.chmod(0o755)
            write_shapes(temporary, seed, num_train, num_val)
            os.rename(temporary, root)
        except OSError:
            if not _filled(root):
                raise
            return False
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return True


def _filled(root: Path) -> bool:
    return root.exists() and (not root.is_dir() or any(root.iterdir()))


@DATASETS.register_module()
class ShapesDataset(BaseSegDataset):
    """Built-in data set with 7 classes (with background) that need shape and texture; void is 255.

    Args:
        ann_file: Image list, relative to ``data_root``.
        data_root: Folder of the data set; generated there when it is missing or empty.
        data_prefix: Folders of images and masks, relative to ``data_root``.
        auto_generate: Generate a missing data set (a few seconds) instead of raising an error.
        generate: Settings of the generator: ``seed``, ``num_train``, ``num_val``. A data set on
            disk that was made with other values than the ones given here is an error.
        **kwargs: Arguments of :class:`mmseg.datasets.BaseSegDataset`.
    """

    METAINFO = {"classes": CLASSES, "palette": [list(color) for color in PALETTE]}

    def __init__(
        self,
        ann_file: str = "ImageSets/Segmentation/train.txt",
        data_root: str = "data/shapes",
        data_prefix: dict | None = None,
        img_suffix: str = ".jpg",
        seg_map_suffix: str = ".png",
        auto_generate: bool = True,
        generate: dict | None = None,
        **kwargs,
    ) -> None:
        self.auto_generate = auto_generate
        self.generate = dict(generate or {})
        unknown = sorted(set(self.generate) - {"seed", "num_train", "num_val"})
        if unknown:
            raise ConfigError(
                f"ShapesDataset: generate has the unknown key {unknown[0]!r}, "
                "expected seed, num_train or num_val"
            )
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix
            or {"img_path": "JPEGImages", "seg_map_path": "SegmentationClass"},
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Generate the data set if needed, check it, and list the images of ``ann_file``."""
        if not _filled(Path(self.data_root)):
            if not self.auto_generate:
                raise DataError(
                    f'no "shapes" data set at {self.data_root}: run '
                    f"`python tools/make_shapes.py --out {self.data_root}` "
                    "or set auto_generate=True"
                )
            if prepare_shapes(self.data_root, **self.generate):
                print_log(f'Generated the "shapes" data set in {self.data_root}', logger="current")
        check_shapes(self.data_root, self.generate)
        return super().load_data_list()
