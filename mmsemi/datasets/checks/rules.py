# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The list of all rules."""

from __future__ import annotations

from collections.abc import Collection

from . import image_faults as image
from . import list_faults as lists
from . import mask_faults as mask
from . import place_faults as place
from . import void_faults as void
from .findings import Finding, Rule
from .survey import Survey, is_expanded

# fmt: off
_LIST = (
    Rule("dataset-cannot-be-built", "error", "names", "{reason}",
         "correct {key}; its paths are relative to '{folder}'"),
    Rule("batch-cannot-be-made", "error", "all", "{reason}", "{advice}"),

    # Lists and folders
    Rule("list-missing", "error", "names", "{problem}",
         "add the list, or correct its path", lists.lists(lambda one: bool(one.problem))),
    Rule("list-not-text", "error", "names", "the list file is no UTF-8 text",
         "save it as plain UTF-8 text with one image a line",
         lists.lists(lambda one: one.text is None and not one.problem)),
    Rule("list-byte-order-mark", "error", "names",
         "the file starts with a byte order mark, which becomes part of the first name",
         "save it as UTF-8 without BOM",
         lists.lists(lambda one: one.is_stock and (one.text or "").startswith("\ufeff"))),
    Rule("list-empty", "error", "names", "the list names no image", "write one image a line",
         lists.lists(lambda one: one.text is not None and not one.lines)),
    Rule("list-two-columns", "error", "names",
         "several names in a line: the data set reads them as one name with blanks",
         "keep the first column, without suffix", lists.two_columns),
    Rule("list-other-names", "error", "names",
         "the data set reads each line as '{img_dir}/<line>{img_suffix}'",
         "write the path below that folder without suffix, or correct img_suffix and data_prefix",
         lists.other_names),
    Rule("list-blank-line", "error", "names",
         "the data set reads an empty line as an image without a name",
         "remove the empty lines", lists.lists(lists.blank_lines)),
    Rule("list-unknown-id", "error", "names",
         "{lists} names images that have neither an image nor a mask",
         "correct the line, or img_suffix and data_prefix if it is every line",
         image.missing_images(without_mask=True)),
    Rule("list-duplicate-line", "warning", "names", "an image is listed more than once",
         "remove the repeated lines", lists.lists(lists.repeated_lines)),
    Rule("list-crlf", "info", "names",
         "the lines end in CR LF: read correctly here, not by every other tool",
         "save it with Unix line ends, e.g. `sed -i 's/\\r$//'`",
         lists.lists(lambda one: bool(one.text) and b"\r" in one.data)),
    Rule("labeled-unlabeled-overlap", "error", "names",
         "images are labelled in '{labeled}' and unlabelled in '{unlabeled}'",
         "remove them from one list, or set split.allow_overlap=True", lists.both_halves),
    Rule("mask-without-image", "warning", "all",
         "a mask in '{mask_dir}' has no image in '{img_dir}'",
         "add the image with the suffix '{img_suffix}', or remove the mask", lists.lonely_masks),
    Rule("image-other-suffix", "warning", "all",
         "left out, since the data set takes '*{img_suffix}' only",
         "rename the files, or correct img_suffix", lists.other_suffixes),

    # Files
    Rule("image-missing", "error", "names", "the image file does not exist",
         "add the file, or take it out of the list", image.missing_images(without_mask=False)),
    Rule("mask-missing", "error", "names", "{count} of {total} images have no mask", "{advice}",
         mask.missing_masks),
    Rule("file-empty", "error", "all", "the {kind} file has 0 bytes",
         "copy or download it again, or remove {it}", image.broken("empty", "image", "mask")),
    Rule("image-unreadable", "error", "all", "the image cannot be read",
         "correct the file's permissions or kind", image.broken("unreadable", "image")),
    Rule("mask-unreadable", "error", "all", "the mask cannot be read",
         "correct the file's permissions or kind", image.broken("unreadable", "mask")),
    Rule("image-corrupt", "error", "all", "the image cannot be decoded",
         "copy or download it again, or remove {it}", image.broken("corrupt", "image")),
    Rule("mask-corrupt", "error", "all", "the mask cannot be decoded",
         "copy or download it again, or remove {it}", image.broken("corrupt", "mask")),

    Rule("mask-too-large", "error", "all", "larger than Pillow decodes",
         "cut image and mask into tiles, or set imdecode_backend='cv2' of LoadAnnotations (for a grey "
         "mask without palette)", image.broken("too large", "mask")),

    # Images
    Rule("images-not-read", "info", "all",
         "the pipeline reads images with a loader of its own: they were not opened",
         "nothing; train for an iteration to see that they load", image.unread_images),
    Rule("image-looks-like-mask", "error", "all",
         "the image holds only class indices or the palette's colours",
         "point unlabeled.img_dir at a folder that holds images only",
         image.images(image.looks_like_mask)),
    Rule("image-turned-by-exif", "warning", "few",
         "the loader turns the image by its EXIF tag and leaves the mask as it is",
         "turn the pixels once and remove the tag, e.g. with `mogrify -auto-orient`",
         image.images(image.turned)),
    Rule("image-16-bit", "warning", "all",
         "more than 8 bits a channel: the loader keeps the upper 8",
         "set LoadImageFromFile.color_type='unchanged', or convert the images to 8 bit",
         image.images(lambda one, item, _: one.bits > 8 and item.part.color_type != "unchanged")),
    Rule("image-alpha", "warning", "all",
         "the image has a transparency channel, which the loader drops",
         "blend it with a background and save it as RGB",
         image.images(lambda one, item, _: item.part.color_type != "unchanged"
                      and one.has_alpha and one.mode)),
    Rule("image-tiny", "warning", "all",
         "less than half of the training crop {crop} in one direction: mostly padding",
         "remove these images, or lower crop_size", image.smaller_than_crop(0, 0.5)),
    Rule("image-smaller-than-crop", "info", "all", "smaller than the training crop {crop}: padded",
         "nothing, if it is meant; else lower crop_size", image.smaller_than_crop(0.5, 1)),
    Rule("image-grey", "info", "all", "grey images among colour ones",
         "nothing, if it is meant", image.grey_among_colour),

    # Masks
    Rule("size-mismatch", "error", "all", "image and mask differ in size",
         "pair the right files, or make the masks again at the images' size", mask.other_sizes),
    Rule("mask-is-colour", "error", "all",
         "a mask must hold one class index a pixel, these are colour pictures", "{advice}",
         mask.colour_masks),
    Rule("mask-palette-expanded", "error", "all",
         "LoadAnnotations(imdecode_backend='cv2') turns palette masks into colours",
         "remove imdecode_backend from LoadAnnotations (the default keeps the indices)",
         mask.masks(lambda one, item: is_expanded(one, item.part))),
    Rule("mask-value-outside", "error", "all",
         "values {outside} are neither a class (0..{last}) nor void ({ignore})", "{advice}",
         mask.counted(mask.values_outside)),
    Rule("mask-is-jpeg", "warning", "few",
         "JPEG changes values at edges, so that pixels become other classes without a trace",
         "make the masks again as PNG", mask.jpeg_masks),
    Rule("mask-all-void", "warning", "all", "no pixel has a label",
         "label the image, or leave it out (its image may go to the unlabelled ones)",
         mask.counted(lambda one: one.void == one.total)),
    Rule("mask-mostly-void", "warning", "all",
         f"more than {mask.MOSTLY_VOID:.0%} of the pixels have no label",
         "look at them: is {ignore} (void) meant there?", mask.counted(mask.mostly_void)),
    Rule("void-share-high", "warning", "all", "{share:.1%} of all mask pixels have no label",
         "check ignore_index={ignore} and reduce_zero_label", mask.high_void_share),

    # Classes
    Rule("void-value-differs", "error", "names",
         "decode_head.ignore_index={home} is the value of pixels without a label, others differ: {others}",
         "make them agree, or change decode_head.ignore_index", void.contradictions),
    Rule("one-class-and-void", "error", "few",
         "the masks hold {found} and {ignore} alone, and {ignore} is void (ignored): '{missing}' is never "
         "trained",
         "{ignore} is void here; did you mean class {meant}? Save it as {meant}, or choose another "
         "ignore_index (data set and decode head) and map {ignore}", mask.one_class_and_void),
    Rule("classes-differ-from-model", "error", "names",
         "the data set has {data} classes, {setting} is {model}",
         "correct metainfo.classes, or set {setting}={data} (in auxiliary heads, too)",
         mask.other_classes),
    Rule("class-never-labelled", "warning", "few",
         "no pixel in {read} of {total} masks has the class, so it is never learned",
         "choose other labelled images (another split.seed or list), or drop the class",
         mask.never_labelled),
    Rule("class-not-in-val", "info", "all",
         "the class has no pixel in the validation masks: its IoU says nothing",
         "nothing, if it is meant", mask.not_in_val),

    # The same image in two places
    Rule("image-is-mask", "error", "names", "a mask of the data set is taken for an image",
         "point img_dir at a folder that holds images only, or correct img_suffix",
         place.masks_as_images),
    Rule("held-out-image-in-training", "error", "names",
         "a training image (source '{train}') is also a {held_out} image: the score is too high",
         "take it out of the training list or folder", place.held_out(place.same_files)),
    Rule("held-out-content-in-training", "error", "few",
         "a training image (source '{train}') is a copy of a {held_out} image: the score is too high",
         "take it out of the training list or folder", place.held_out(place.same_contents)),
    Rule("held-out-name-in-training", "warning", "all",
         "a training image (source '{train}') has the name of a {held_out} image, not its bytes",
         "compare the pictures; rename them if they are different ones",
         place.held_out(place.same_names)),
    Rule("val-image-in-test", "warning", "all", "validation and test share images",
         "take them out of one of the two", place.val_in_test),
    Rule("labeled-image-among-unlabeled", "warning", "names",
         "labelled images are used without their masks, too", "{advice}",
         place.labeled_in_unlabeled(place.same_files)),
    Rule("labeled-content-among-unlabeled", "warning", "all",
         "an unlabelled image is a copy of a labelled one", "remove one of the two files",
         place.labeled_in_unlabeled(place.same_contents)),
    Rule("hidden-masks-read", "warning", "names",
         "masks of images that the split leaves unlabelled are read",
         "set train_dataloader.dataset.sources.{name}=dict(pool='labeled', pipeline=...), unless all "
         "labels of this source may be used", place.hidden_masks),
    Rule("duplicate-file", "warning", "names",
         "links to one file under different names: it counts more than once",
         "keep one of them", place.links),
    Rule("duplicate-content", "warning", "all",
         "files with the same bytes under different names: they count twice",
         "keep one of them, with the better mask", place.copies),
)
# fmt: on

#: All rules by their code.
RULES: dict[str, Rule] = {rule.code: rule for rule in _LIST}


def judge(survey: Survey, reads: Collection[str] = ("names", "few", "all")) -> list[Finding]:
    """What the rules find that read no more than this."""
    rules = (rule for rule in RULES.values() if rule.reads in reads)
    return [finding for rule in rules for finding in rule.judge(survey)]
