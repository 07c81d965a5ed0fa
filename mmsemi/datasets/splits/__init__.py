# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which images of a data set keep their masks: computed at load, independent of file order.

A split is a callable ``split(ids) -> (labeled_ids, unlabeled_ids)`` over the ids of a labelled mmseg
dataset. Ids are image paths relative to their common folder, without suffix; they arrive sorted.
Published protocols are compared by *canonical id* and SHA-256, see :func:`ids_sha256`.
"""

from .ids import (
    Ids,
    LabeledUnlabeled,
    canonical_id,
    check_split,
    ids_sha256,
    match_ids,
    name_in_line,
    parse_id_list,
    read_id_list,
    same_path,
)
from .list_split import ListSplit
from .protocols import MASTERS, PROTOCOLS, SplitProtocol, get_protocol
from .published import PublishedSplit
from .seeded import CountSplit, OverlappingPart, RatioSplit

__all__ = [
    "MASTERS",
    "PROTOCOLS",
    "CountSplit",
    "Ids",
    "LabeledUnlabeled",
    "ListSplit",
    "OverlappingPart",
    "PublishedSplit",
    "RatioSplit",
    "SplitProtocol",
    "canonical_id",
    "check_split",
    "get_protocol",
    "ids_sha256",
    "match_ids",
    "name_in_line",
    "parse_id_list",
    "read_id_list",
    "same_path",
]
