# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Published protocols that need no list file: master list, rule and SHA-256 of both parts.

Hashes are of the sorted canonical ids (see :func:`mmsemi.datasets.splits.ids_sha256`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EveryKth:
    """Every k-th id of the sorted master list is labelled, the rest is unlabelled."""

    master_name: str
    master_count: int
    master_sha256: str
    every: int
    labeled_sha256: str
    unlabeled_sha256: str


def _voc_aug(every: int, labeled_sha256: str, unlabeled_sha256: str) -> EveryKth:
    return EveryKth(
        "PASCAL VOC 2012 train_aug (VOC train + SBD train and val - VOC val)",
        10582,
        "d1326bd532648d73bc4b1bd275434eba81930982dc7401a65a8cecb26c028e24",
        every,
        labeled_sha256,
        unlabeled_sha256,
    )


# CPS (Chen et al. 2021), TorchSemiSeg DATA/pascal_voc/subset_train_aug; also UniMatch's 1_16, 1_8, 1_4.
PUBLISHED_SPLITS: dict[str, EveryKth] = {
    "cps_voc_1of2": _voc_aug(
        2,
        "192132b4f645339dd143850359d4e27bb62ba3ce447553a07de23fbff4f0c8b9",
        "415761b09b2b58696eadbe27d4cf09e42c495d247723d2a3267a7537fa410107",
    ),
    "cps_voc_1of4": _voc_aug(
        4,
        "62c450787069b36d88ea7bb35895a808885720ae833bae8b9c81775731062ea1",
        "a84acda9b7087bb4595db3d023d9f546347dd7e937f4db5ce6a7146739983cb9",
    ),
    "cps_voc_1of8": _voc_aug(
        8,
        "df63f50a798512c3befb5364052733bd8bc169f609e034e9f55b5853798ead10",
        "b93006960bd751713dd8f5c14a148925077ba8deade79fa8591f715d7adb80e2",
    ),
    "cps_voc_1of16": _voc_aug(
        16,
        "7dada8ccc5eb6309b4b81e172dfc24f0d83ea72078675083778ca10487182748",
        "49b06340ca1534c3f15001ea9ce6d2815dd2ae1302390cfbdcfc0b004e17d960",
    ),
}
