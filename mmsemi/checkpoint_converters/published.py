# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Published checkpoints by name: the one table of their files, addresses and converters.

Names, except for the COCO file's, and addresses are recalled from AdvSemiSeg's released code and
unverified [R]; its server may be gone. Whoever has a file gives its path, or puts it into one of the
folders that are looked at first. The eight digits in a name are the first of the file's SHA-256, which
is compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch

from ..errors import CheckpointError, ConfigError, close_matches
from ..utils.files import file_sha256

_ADVSEMISEG = "http://vllab1.ucmerced.edu/~whung/adv-semi-seg/"


@dataclass(frozen=True)
class Published:
    """A file of somebody else.

    Attributes:
        file: Its name.
        folder: Address of the folder that it was published in.
        converter: Module of :mod:`mmsemi.checkpoint_converters` that reads it.
        what: What it is.
    """

    file: str
    folder: str
    converter: str
    what: str

    @property
    def sha256(self) -> str:
        """First digits of its hash, empty if none is known."""
        found = re.search(r"-([0-9a-f]{8,})\.", self.file)
        return found[1] if found else ""


PUBLISHED = {
    "deeplabv2_coco": Published(
        "resnet101COCO-41f33a49.pth",
        _ADVSEMISEG,
        "deeplabv2_coco",
        "DeepLabv2 ResNet-101 trained on MS-COCO, from which AdvSemiSeg, s4GAN (COCO rows), ClassMix "
        "and DST-CBC start",
    ),
    "semi0.125": Published(
        "AdvSemiSegVOC0.125-03c6f81c.pth", _ADVSEMISEG, "advsemiseg", "AdvSemiSeg, VOC 1/8 labels"
    ),
    "semi0.25": Published(
        "AdvSemiSegVOC0.25-473f8a14.pth", _ADVSEMISEG, "advsemiseg", "AdvSemiSeg, VOC 1/4 labels"
    ),
    "semi0.5": Published(
        "AdvSemiSegVOC0.5-acf6a654.pth", _ADVSEMISEG, "advsemiseg", "AdvSemiSeg, VOC 1/2 labels"
    ),
    "advFull": Published(
        "AdvSegVOCFull-92fbc7ee.pth",
        _ADVSEMISEG,
        "advsemiseg",
        "AdvSemiSeg, VOC with all labels, adversarial loss only",
    ),
}


def find_source(source: Path, converter: str, folders: Sequence[Path] = ()) -> Path:
    """The file that a user names by its path or by its name in :data:`PUBLISHED`.

    Args:
        source: What the user gave.
        converter: The converter that will read it.
        folders: Where to look first; default ``checkpoints`` and the cache of ``torch.hub``, which a
            download goes to.

    Raises:
        ConfigError: The name is of a file for another converter.
        CheckpointError: There is no such file and no such name, it cannot be downloaded, or the file
            found is another one.
    """
    name = str(source)
    if source.exists():
        return source
    if name not in PUBLISHED:
        raise CheckpointError(
            f"there is no file '{name}'{close_matches(name, [*PUBLISHED, *source.parent.glob('*.pth*')])} "
            f"(published ones by name: {', '.join(PUBLISHED)})"
        )
    entry = PUBLISHED[name]
    if entry.converter != converter:
        raise ConfigError(f"'{name}' is read by {entry.converter}, not by {converter}")
    folders = folders or [Path("checkpoints"), Path(torch.hub.get_dir(), "checkpoints")]
    for path in (folder / entry.file for folder in folders):
        if path.is_file():
            digest = file_sha256(path)
            if not digest.startswith(entry.sha256):
                raise CheckpointError(
                    f"'{path}' is not the published file: its SHA-256 begins with {digest[:8]}, not "
                    f"with {entry.sha256}"
                )
            return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(entry.folder + entry.file, str(path), entry.sha256)
    except (URLError, TimeoutError, ConnectionError, RuntimeError) as error:
        reason = next(iter(str(getattr(error, "reason", error)).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"'{name}' ({entry.file}) is not on this machine, and {entry.folder} does not give it "
            f"({reason}): put the file into {folders[0]}, or give its path"
        ) from error
    return path
