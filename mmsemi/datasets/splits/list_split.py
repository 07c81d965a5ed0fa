# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Labelled subsets from list files."""

from __future__ import annotations

from mmseg.registry import TASK_UTILS

from ...errors import DataError
from ...utils.config_files import find_shipped
from .ids import Ids, LabeledUnlabeled, ids_sha256, match_ids, read_id_list


@TASK_UTILS.register_module()
class ListSplit:
    """Labelled (and optionally unlabelled) ids from list files.

    A path is one from the working directory, or of a list that comes with mmsemi (``splits/nuclei/pool.txt``).

    Args:
        labeled: List file of the labelled images, one id or path a line (a second column, as the
            published lists have, is ignored).
        unlabeled: List file of the unlabelled images; the default is every other image.
        allow_overlap: Accept images that are in both lists; otherwise they are an error.
        labeled_sha256: Hash of the sorted labelled ids (:func:`ids_sha256`) if the list is a
            published one, so that no other list is trained on under its name.
        origin: Where the list comes from; told when the file is missing.

    Raises:
        DataError: A list file does not exist, a line matches no image, the lists overlap, or the hash
            is another one.
    """

    def __init__(
        self,
        labeled: str,
        unlabeled: str | None = None,
        allow_overlap: bool = False,
        labeled_sha256: str | None = None,
        origin: str | None = None,
    ) -> None:
        self.labeled, self.unlabeled, self.allow_overlap = labeled, unlabeled, allow_overlap
        self.labeled_sha256, self.origin = labeled_sha256, origin

    def __call__(self, ids: Ids) -> LabeledUnlabeled:
        labeled_file = find_shipped(self.labeled)
        if self.origin is not None and not labeled_file.is_file():
            raise DataError(
                f"list file '{self.labeled}' does not exist: it is {self.origin}; put it there, or "
                "set split.labeled to where it is"
            )
        lines = read_id_list(labeled_file)
        if self.labeled_sha256 is not None and ids_sha256(lines) != self.labeled_sha256:
            raise DataError(
                f"list file '{self.labeled}' ({len(lines)} images) is not the published one"
                f"{f' ({self.origin})' if self.origin else ''}: its ids have another hash; for a "
                "list of your own set split.labeled_sha256=None"
            )
        labeled = match_ids(lines, ids, f"'{self.labeled}'")
        chosen = set(labeled)
        if self.unlabeled is None:
            return labeled, [item for item in ids if item not in chosen]
        unlabeled = match_ids(
            read_id_list(find_shipped(self.unlabeled)), ids, f"'{self.unlabeled}'"
        )
        both = sorted(chosen.intersection(unlabeled))
        if both and not self.allow_overlap:
            raise DataError(
                f"{len(both)} images are labelled in '{self.labeled}' and unlabelled in "
                f"'{self.unlabeled}', the first is '{both[0]}': remove them from one list, or set "
                "split.allow_overlap=True"
            )
        return labeled, unlabeled
