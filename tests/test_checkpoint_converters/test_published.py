# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Published checkpoints by name."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
import torch

from mmsemi.checkpoint_converters import published
from mmsemi.checkpoint_converters.published import PUBLISHED, Published, find_source
from mmsemi.errors import CheckpointError, ConfigError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "published_checkpoints.md"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table(name: str) -> None:
    entry = PUBLISHED[name]
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` ")]
    assert f"`{entry.file}`" in row and f"| `{entry.converter}` | {entry.what} |" in row
    assert len(entry.sha256) == 8 and entry.folder.endswith("/")
    assert callable(import_module(f"mmsemi.checkpoint_converters.{entry.converter}").convert)


def test_a_file_is_found_by_path_and_by_name(tmp_path, monkeypatch) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    monkeypatch.setitem(
        published.PUBLISHED, "mine", Published(f"m-{digest}.pth", "http://x/", "advsemiseg", "")
    )
    file = tmp_path / f"m-{digest}.pth"
    file.write_bytes(b"weights")
    assert find_source(file, "advsemiseg") == file
    assert find_source(Path("mine"), "advsemiseg", [tmp_path / "none", tmp_path]) == file
    file.write_bytes(b"weight")
    with pytest.raises(CheckpointError, match=digest):
        find_source(Path("mine"), "advsemiseg", [tmp_path])


def test_other_names(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="'semi0.125'"):
        find_source(Path("semi0.12"), "advsemiseg", [tmp_path])
    with pytest.raises(ConfigError, match="deeplabv2_coco"):
        find_source(Path("deeplabv2_coco"), "advsemiseg", [tmp_path])


@pytest.mark.parametrize(
    "error",
    [
        URLError(OSError(-3, "Temporary failure in name resolution")),
        HTTPError("http://x", 404, "Not Found", {}, None),
        TimeoutError("timed out"),
        RuntimeError('invalid hash value (expected "03c6f81c", got "00")'),
    ],
)
def test_no_network_or_a_dead_address(error: Exception, tmp_path, monkeypatch) -> None:
    def download(*_) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(CheckpointError, match=r"AdvSemiSegVOC0\.125-03c6f81c\.pth") as found:
        find_source(Path("semi0.125"), "advsemiseg", [tmp_path])
    assert "http://" in str(found.value) and "\n" not in str(found.value)
