# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Ways to spoil the clean set, each with what is to be found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image
from test_datasets.test_checks.clean_set import (
    write_image,
    write_mask,
)

IMAGE, MASK = "images/train/train_03.png", "masks/train/train_03.png"
FAULTS: dict[str, tuple] = {}


def fault(severity: str, code: str, named: str, count: int = 1) -> Callable:
    """Register a function that spoils the set: what is to be found, and what the finding names."""

    def register(spoil: Callable[[Path, Config], None]) -> Callable:
        FAULTS[spoil.__name__] = (spoil, severity, code, named, count)
        return spoil

    return register


def labeled(config: Config) -> Config:
    return config.train_dataloader.dataset.labeled


def use_lists(config: Config, root: Path) -> None:
    labeled(config).ann_file = str(root / "train.txt")


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


# --- Masks ----------------------------------------------------------------------------------------


@fault("error", "mask-value-outside", "train_03.png (7: ")
def a_mask_value_is_no_class(root, config):
    write_mask(root / MASK, values=(0, 1, 7))


@fault("error", "mask-is-colour", "train_03.png (RGB)")
def a_mask_is_a_colour_picture(root, config):
    Image.open(root / MASK).convert("RGB").save(root / MASK)


@fault("error", "mask-missing", MASK)
def a_mask_is_missing(root, config):
    os.remove(root / MASK)


@fault("error", "mask-corrupt", MASK)
def a_mask_is_cut_off(root, config):
    cut(root / MASK, 0.6)


@fault("error", "file-empty", MASK)
def a_mask_is_an_empty_file(root, config):
    (root / MASK).write_bytes(b"")


@fault("error", "mask-unreadable", MASK)
def a_mask_is_a_folder(root, config):
    os.remove(root / MASK)
    (root / MASK).mkdir()


@fault("error", "size-mismatch", "image 48x40, mask 40x48")
def a_mask_has_another_size(root, config):
    write_mask(root / MASK, size_wh=(40, 48))


@fault("warning", "mask-all-void", MASK)
def a_mask_is_all_void(root, config):
    write_mask(root / MASK, values=(255,))


@fault("warning", "mask-mostly-void", "(93.8%)")
def a_mask_is_nearly_all_void(root, config):
    write_mask(root / MASK, values=(1, *[255] * 15))


@fault("warning", "void-share-high", "labeled", 8)
def most_labels_are_void(root, config):
    for number in range(8):
        write_mask(root / f"masks/train/train_{number:02d}.png", values=(0, 1, 2, *[255] * 5))


@fault("error", "one-class-and-void", "'left, right' is never trained", 8)
def objects_are_stored_as_void(root, config):
    for number in range(8):
        write_mask(root / f"masks/train/train_{number:02d}.png", values=(0, 255))


@fault("warning", "mask-without-image", "masks/train/lonely.png")
def a_mask_has_no_image(root, config):
    write_mask(root / "masks/train/lonely.png")


@fault("warning", "class-never-labelled", "right (occurs in val)")
def a_class_is_never_labelled(root, config):
    for number in range(8):
        write_mask(root / f"masks/train/train_{number:02d}.png", values=(0, 1))


@fault("info", "class-not-in-val", "right")
def a_class_is_not_in_the_validation_masks(root, config):
    for number in range(4):
        write_mask(root / f"masks/val/val_{number:02d}.png", values=(0, 1))


@fault("warning", "mask-is-jpeg", "train_03.png")
def a_mask_is_a_jpeg(root, config):
    Image.fromarray(np.ones((40, 48), np.uint8)).save(root / MASK, format="JPEG")


@fault("error", "mask-palette-expanded", "train_00.png", 8)
def the_pipeline_expands_palettes(root, config):
    labeled(config).pipeline[1].imdecode_backend = "cv2"


@fault("error", "classes-differ-from-model", "labeled")
def the_model_has_other_classes(root, config):
    config.model.segmentor.decode_head.num_classes = 4
    config.val_dataloader = None


# --- Images ---------------------------------------------------------------------------------------


@fault("error", "image-missing", IMAGE)
def a_listed_image_is_missing(root, config):
    use_lists(config, root)
    os.remove(root / IMAGE)


@fault("error", "image-corrupt", IMAGE)
def an_image_is_cut_off(root, config):
    cut(root / IMAGE, 0.7)


@fault("error", "image-corrupt", "train_03.png")
def a_jpeg_is_cut_off(root, config):
    Image.open(root / IMAGE).save(root / IMAGE, format="JPEG")
    cut(root / IMAGE, 0.9)


@fault("error", "image-corrupt", "more_02.png")
def an_unlabelled_image_is_a_text(root, config):
    (root / "more/more_02.png").write_text("<html>not found</html>")


@fault("error", "file-empty", IMAGE)
def an_image_is_an_empty_file(root, config):
    (root / IMAGE).write_bytes(b"")


@fault("error", "image-unreadable", IMAGE)
def an_image_is_a_folder(root, config):
    use_lists(config, root)
    os.remove(root / IMAGE)
    (root / IMAGE).mkdir()


@fault("info", "images-not-read", "images/train")
def the_pipeline_has_an_image_loader_of_its_own(root, config):
    labeled(config).pipeline[0] = dict(type="LoadBiomedicalImageFromFile")


@fault("warning", "image-tiny", "(12x10)")
def an_image_is_tiny(root, config):
    write_image(root / "more/more_02.png", 5, size_wh=(12, 10))


@fault("info", "image-smaller-than-crop", "(30x40)")
def an_image_is_smaller_than_the_crop(root, config):
    write_image(root / "more/more_02.png", 5, size_wh=(30, 40))


@fault("info", "image-grey", IMAGE)
def an_image_is_grey(root, config):
    write_image(root / IMAGE, 5, mode="L")


@fault("warning", "image-alpha", "train_03.png (RGBA)")
def an_image_has_alpha(root, config):
    write_image(root / IMAGE, 5, mode="RGBA")


@fault("warning", "image-16-bit", IMAGE)
def an_image_has_16_bits(root, config):
    noise = np.random.default_rng(5).integers(0, 65536, (40, 48), dtype=np.uint16)
    Image.fromarray(noise).save(root / IMAGE)


@fault("warning", "image-turned-by-exif", "(turned by 180 degrees)")
def an_image_is_turned_by_its_tag(root, config):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(root / IMAGE).save(root / IMAGE, exif=exif)


@fault("error", "size-mismatch", "image 40x48, mask 48x40, the image is turned by its EXIF tag")
def an_image_is_turned_sideways_by_its_tag(root, config):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(root / IMAGE).save(root / IMAGE, exif=exif)


@fault("warning", "image-other-suffix", "late.PNG")
def an_image_has_another_suffix(root, config):
    write_image(root / "images/train/late.png", 6).rename(root / "images/train/late.PNG")


# --- Lists and folders ----------------------------------------------------------------------------


@fault("error", "list-unknown-id", "no_such_image.png")
def a_list_names_an_unknown_image(root, config):
    use_lists(config, root)
    with open(root / "train.txt", "a") as file:
        file.write("no_such_image\n")


@fault("warning", "list-duplicate-line", "line 9: train_02")
def a_list_names_an_image_twice(root, config):
    use_lists(config, root)
    with open(root / "train.txt", "a") as file:
        file.write("train_02\n")


@fault("error", "list-blank-line", "line 9")
def a_list_has_an_empty_line(root, config):
    use_lists(config, root)
    with open(root / "train.txt", "a") as file:
        file.write("\n")


@fault("error", "list-other-names", "line 3: train_02.png, which is 'train_02'")
def a_list_has_a_suffix(root, config):
    use_lists(config, root)
    text = (root / "train.txt").read_text()
    (root / "train.txt").write_text(text.replace("train_02", "train_02.png"))


@fault("info", "list-crlf", "train.txt")
def a_list_has_windows_line_ends(root, config):
    use_lists(config, root)
    text = (root / "train.txt").read_text()
    (root / "train.txt").write_text(text, newline="\r\n")


@fault("error", "list-byte-order-mark", "train.txt")
def a_list_has_a_byte_order_mark(root, config):
    use_lists(config, root)
    text = (root / "train.txt").read_text()
    (root / "train.txt").write_text(text, encoding="utf-8-sig")


@fault("error", "list-two-columns", "line 1: images/a.png masks/a.png", 1)
def a_list_has_two_columns(root, config):
    use_lists(config, root)
    text = (root / "train.txt").read_text()
    (root / "train.txt").write_text("images/a.png  masks/a.png\n" + text)


@fault("error", "labeled-unlabeled-overlap", "train_01")
def the_lists_of_a_split_overlap(root, config):
    (root / "labeled.txt").write_text("train_00\ntrain_01\n")
    (root / "unlabeled.txt").write_text("train_01\ntrain_02\n")
    config.train_dataloader.dataset.split = dict(
        type="ListSplit",
        labeled=str(root / "labeled.txt"),
        unlabeled=str(root / "unlabeled.txt"),
    )


@fault("error", "dataset-cannot-be-built", "more_gone'")
def the_unlabelled_folder_is_missing(root, config):
    config.train_dataloader.dataset.unlabeled.img_dir = str(root / "more_gone")


@fault("error", "dataset-cannot-be-built", "images/val'")
def the_validation_folder_is_empty(root, config):
    shutil.rmtree(root / "images/val")
    (root / "images/val").mkdir()


@fault("error", "image-is-mask", "masks/train/train_00.png", 8)
def the_unlabelled_folder_holds_the_masks(root, config):
    config.train_dataloader.dataset.unlabeled.img_dir = str(root / "masks/train")


@fault("error", "image-looks-like-mask", "more_02.png")
def the_unlabelled_folder_holds_another_mask(root, config):
    write_mask(root / "more/more_02.png")


# --- The same image in two places -----------------------------------------------------------------


@fault("error", "held-out-image-in-training", "val_00.png")
def a_training_list_names_a_validation_image(root, config):
    for kind in ("images", "masks"):
        shutil.copytree(root / kind / "val", root / kind / "train", dirs_exist_ok=True)
    config.val_dataloader.dataset.data_prefix = labeled(config).data_prefix
    config.val_dataloader.dataset.ann_file = str(root / "val.txt")
    use_lists(config, root)
    with open(root / "train.txt", "a") as file:
        file.write("val_00\n")


@fault("error", "held-out-content-in-training", "train_03.png = ")
def a_validation_image_is_a_renamed_training_image(root, config):
    shutil.copy(root / IMAGE, root / "images/val/val_01.png")


@fault("error", "held-out-content-in-training", "more_02.png = ")
def an_unlabelled_image_is_a_copy_of_a_validation_image(root, config):
    shutil.copy(root / "images/val/val_01.png", root / "more/more_02.png")


@fault("warning", "held-out-name-in-training", "val_01.png ~ ")
def an_unlabelled_image_has_the_name_of_a_validation_image(root, config):
    write_image(root / "more/val_01.png", 77)


@fault("warning", "duplicate-content", "train_03.png = ")
def two_labelled_images_are_the_same(root, config):
    shutil.copy(root / IMAGE, root / "images/train/train_05.png")


@fault("warning", "labeled-content-among-unlabeled", "train_03.png = ")
def an_unlabelled_image_is_a_copy_of_a_labelled_one(root, config):
    shutil.copy(root / IMAGE, root / "more/more_02.png")


@fault("warning", "labeled-image-among-unlabeled", "train_00.png", 8)
def the_unlabelled_folder_is_the_labelled_one(root, config):
    config.train_dataloader.dataset.unlabeled.img_dir = str(root / "images/train")


#: Further findings that a fault rightly causes.
RELATED = {
    "a_mask_is_missing": {"mask-without-image"},
    "a_list_has_an_empty_line": {"list-unknown-id"},
    "a_list_has_a_byte_order_mark": {"list-unknown-id"},
    "a_list_has_two_columns": {"list-unknown-id"},
    "a_list_has_a_suffix": {"list-unknown-id"},
    "objects_are_stored_as_void": {"class-never-labelled"},
    "most_labels_are_void": set(),
    "an_image_has_16_bits": {"image-grey"},
    "an_image_is_turned_sideways_by_its_tag": {"image-turned-by-exif"},
    "the_validation_folder_is_empty": {"mask-without-image"},
    "a_mask_is_a_jpeg": {"mask-value-outside"},
}
