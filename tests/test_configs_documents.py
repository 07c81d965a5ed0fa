# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""READMEs, headers and metafiles of the consistency methods: what they promise holds.

Overrides work, metafiles agree with their configs, quoted results are those of the sources.
"""

from __future__ import annotations

import argparse
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from config_files import CONFIGS, FOLDERS, batch_sizes_hw, header, load, on_meta, read
from mmcv.transforms import Compose
from mmengine.config import Config, DictAction
from mmseg.registry import TASK_UTILS, TRANSFORMS

from mmsemi.datasets.splits.protocols import get_protocol

# The same for those of test_configs_adversarial.py.
ADVERSARIAL = ("advsemiseg", "s4gan")
# The sources' numbers, where they are at hand.
METHODS = CONFIGS.parents[1] / "shared" / "methods"

OVERRIDES = [
    (path.parent.name, row)
    for path in sorted(CONFIGS.glob("*/README.md"))
    if path.parent.name != "cps"  # its rows: test_configs.py
    for row in path.read_text().splitlines()
    if row.startswith("|") and re.search(r"\| `\S+=.*` \|$", row)
]


@pytest.mark.parametrize(
    ("folder", "row"), OVERRIDES, ids=[f"{f}-{r.split('|')[1].strip()}" for f, r in OVERRIDES]
)
def test_the_overrides_of_the_readmes_work(folder, row):
    """Each row, on the first file of each of its patterns."""
    _, _, files, options, _ = row.split("|")
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    options = parser.parse_args(["--cfg-options", *options.strip(" `").split()]).cfg_options
    stems = sorted(path.stem for path in (CONFIGS / folder).glob("*.py"))
    changed = []
    for pattern in re.findall("`(.+?)`", files):
        matching = [stem for stem in stems if fnmatch(stem, pattern)]
        assert matching, pattern
        config = load(f"{folder}/{matching[0]}")
        config.merge_from_dict(options)
        assert config.to_dict() != read(f"{folder}/{matching[0]}").to_dict()
        check_override(folder, row, config)
        changed.append(config)
    model = on_meta(changed[0].model)
    counts = changed[0].train_dataloader.sampler
    if getattr(model.data_preprocessor, "mix", None) is not None:
        number = counts.num_per_source.unlabeled
        distinct = number // counts.get("copies", {}).get("unlabeled", 1)
        model.data_preprocessor.mix.pair([str(i % distinct) for i in range(number)])


def check_override(folder: str, row: str, config: Config) -> None:
    """Batch, split, crop and OHEM of an overridden config still fit together."""
    loader = config.train_dataloader
    assert loader.batch_size == sum(loader.sampler.num_per_source.values())
    split = loader.dataset.split
    if split is None:
        assert "all labels" in row and loader.dataset.unlabeled.pool == "all"
    elif split.type == "PublishedSplit":
        get_protocol(split.name)
    else:
        TASK_UTILS.build(split)
    for part in (loader.dataset.labeled, loader.dataset.unlabeled):
        assert batch_sizes_hw(part.pipeline) == [tuple(config.crop_size)]
        Compose([TRANSFORMS.build(transform) for transform in part.pipeline])
    assert tuple(config.model.data_preprocessor.size) == tuple(config.crop_size)
    if "OHEM" in row:
        each = 50_000 if "mean_teacher" in folder else 100_000
        assert f"{each:,} for each labelled image" in row
        loss = config.model.segmentor.decode_head.loss_decode
        assert loss.min_kept == each * loader.sampler.num_per_source.labeled


def test_the_metafiles_agree_with_their_configs():
    for folder in (*FOLDERS, *ADVERSARIAL, "supervised"):
        metafile = yaml.safe_load((CONFIGS / folder / "metafile.yml").read_text())
        assert metafile["Collections"][0]["Name"] == metafile["Models"][0]["In Collection"]
        for entry in metafile["Models"]:
            stem, data = Path(entry["Config"]).stem, entry["Metadata"]
            assert entry["Name"] == f"{folder}_{stem}"
            config = load(f"{folder}/{stem}")
            if "Iterations" in data:
                assert data["Iterations"] == config.train_cfg.max_iters, stem
                base = config.get("auto_scale_lr", {}).get("base_batch_size")
                assert data["Batch Size"] == (base or config.train_dataloader.batch_size), stem
            split = config.train_dataloader.dataset.split
            if split is not None and split.type == "PublishedSplit":
                count = get_protocol(split.name).labeled.count
                assert f", {count} labelled" in data["Training Data"], stem


@pytest.mark.parametrize("folder", [*FOLDERS, *ADVERSARIAL, "supervised"])
def test_quoted_results_are_those_of_the_sources(folder):
    """Every mIoU of headers and README stands in the methods' documents, where these are at hand."""
    readme = (CONFIGS / folder / "README.md").read_text()
    ours = re.compile(r"^## Our results$.*?(?=^## )", re.MULTILINE | re.DOTALL)
    texts = {"README": ours.sub("", readme)}
    for path in (CONFIGS / folder).glob("[vca][oid][cte]*_*.py"):
        texts[path.stem] = header(f"{folder}/{path.stem}").partition("Published")[2]
    quoted = {
        (where, number)
        for where, text in texts.items()
        for number in re.findall(r"(?<![\d.])\d\d\.\d{1,2}(?![\d.]|\d)", text)
    }
    if folder != "supervised":
        assert len(quoted) > 10
    if METHODS.is_dir():
        names = ("unimatch.md", "mean_teacher.md", "cps.md", "adversarial.md", "s4gan_mlmt.md")
        known = "\n".join((METHODS / name).read_text() for name in names)
        missing = {pair for pair in quoted if not re.search(rf"(?<![\d.]){pair[1]}(?!\d)", known)}
        assert not missing
