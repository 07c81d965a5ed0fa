#!/usr/bin/env python3
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Write what configs, settings and results say: metafiles, the model index, tables in READMEs.

    make tables                             # or: python docs/generate_tables.py [--check]

A table stands between ``<!-- table: NAME ARGUMENTS -->`` and ``<!-- end of table -->``:

- ``configs DATASET``: all configs of a data set, from the files and their header lines;
- ``published FOLDER``: the published numbers of a method's configs, from the header lines;
- ``protocol SPLIT``: the published numbers of all methods with the same published labels;
- ``settings METHOD``: a method's settings, from its dataclass;
- ``results CONFIG ...``: our results, from docs/results/builtin.json; without names, all of them;
- ``runs DATASET TABLE``: our results on a data set, from docs/results/DATASET.jsonl (see runs/);
- ``classes DATASET``: what the methods gain by class, from the same file;
- ``analysis DATASET``: what the methods' own analysis of these runs gave;
- ``hours``: what the gains of these took, from the same files;
- ``methods``: every method with a published number, our results on all data sets and its cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import re
import statistics
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
sys.path.insert(0, str(ROOT))

from mmengine.config import Config  # noqa: E402
from mmseg.registry import MODELS, TASK_UTILS  # noqa: E402

import mmsemi  # noqa: E402, F401  # before mmseg, for mmcv-lite
from mmsemi.datasets.splits.ids import read_id_list  # noqa: E402
from mmsemi.datasets.splits.protocols import get_protocol  # noqa: E402
from mmsemi.structures import PSEUDO  # noqa: E402
from mmsemi.utils.markdown import format_table  # noqa: E402
from runs.analysis import analysis_table  # noqa: E402
from runs.results import read_all_results  # noqa: E402
from runs.rows import PROTOCOLS  # noqa: E402
from runs.table import classes_table, data_table, gain_and_share, hours_table, todays_runs  # noqa: E402

_TABLE = re.compile(r"(<!-- table: (\w+)(.*?) -->\n).*?(<!-- end of table -->)", re.DOTALL)
# Name and training images of a data set, as its publishers count them, by the type in a config.
DATA = {
    "PascalVOCDataset": ("PASCAL VOC 2012 train_aug", 10582),
    "CityscapesDataset": ("Cityscapes fine", 2975),
    "PascalContextDataset": ("PASCAL-Context", 4998),
    "COCO81Dataset": ("COCO, 81 classes", 118287),
    "ADE20KDataset": ("ADE20K", 20210),
    "CamVidDataset": ("CamVid", 367),
    "ShapesDataset": ("built-in shapes", 256),
    "BaseSegDataset": ("nuclei", 464),
}


# ---------------------------------------------------------------- what a config says


@dataclasses.dataclass(frozen=True)
class Entry:
    """A config, as tables show it."""

    folder: str
    stem: str
    config: Config

    @property
    def name(self) -> str:
        return f"{self.folder}/{self.stem}"

    @property
    def header(self) -> list[str]:
        """The comment above the config, by line."""
        lines = (CONFIGS / f"{self.name}.py").read_text().splitlines()
        return [line.removeprefix("# ") for line in lines if line.startswith("#")]

    @property
    def published(self) -> str:
        """The header's published number with its source, empty for settings of ours."""
        found = [line for line in self.header if line.startswith("Published: ")]
        return found[0].removeprefix("Published: ").removesuffix(".") if found else ""

    @property
    def net(self) -> str:
        """Head and backbone, short."""
        model = self.config.model
        network = model.get("segmentor") or model.classifier
        backbone = network.backbone
        head = "classifier"
        if "segmentor" in model:
            kind = network.decode_head.type
            known = {"DeepLabV2Head": "DeepLabv2", "PSPHead": "PSPNet", "DINOv2DPTHead": "DPT"}
            head = known.get(kind, "DeepLabv3+")
        if backbone.type in ("DINOv2", "DINOv3"):
            return f"{head} {backbone.type}-{backbone['size'][0].upper()}"
        names = {"WiderResNet38": "WRN-38", "tf_efficientnet_lite0": "EfficientNet-Lite0"}
        trunk = names.get(backbone.get("model_name", backbone.type)) or f"R{backbone.depth}"
        return f"{head} {trunk}" + (", narrow" if backbone.get("base_channels", 64) < 64 else "")

    @property
    def crop(self) -> str:
        size = self.config.train_dataloader.dataset.get("crop_size")
        if size is None:
            return "whole image"
        return f"{size[0]}" if size[0] == size[1] else f"{size[0]} x {size[1]}"

    @property
    def counts(self) -> dict[str, int]:
        """Images of a batch of all GPUs of the published run, by source."""
        counts = self.config.train_dataloader.sampler.num_per_source
        base = self.config.get("auto_scale_lr", {}).get("base_labeled", counts.labeled)
        gpus = base // counts.labeled
        return {name: gpus * count for name, count in counts.items() if count}

    @property
    def images(self) -> tuple[int, int]:
        """Labelled images, and unlabelled ones that are drawn from."""
        dataset = self.config.train_dataloader.dataset
        total = DATA[dataset.labeled.type][1]
        split, shown = dataset.split, {"unlabeled", PSEUDO} & {*self.counts}
        if split is None:
            labeled = total
        elif split.type == "PublishedSplit":
            labeled = get_protocol(split.name).labeled.count
        elif split.type == "ListSplit":
            labeled, total = (len(read_id_list(split[name])) for name in ("labeled", "unlabeled"))
            return labeled, total if shown else 0
        else:
            labeled = len(TASK_UTILS.build(split)([f"{i:06}" for i in range(total)])[0])
        unlabeled = total if dataset.unlabeled.get("pool") == "all" else total - labeled
        return labeled, unlabeled if shown else 0

    @property
    def split(self) -> str:
        split = self.config.train_dataloader.dataset.split
        if split is None:
            return "all masks"
        names = {"PublishedSplit": split.get("name"), "ListSplit": split.get("labeled")}
        return f"`{names[split.type]}`" if split.type in names else "seeded draw"


@cache
def entries() -> list[Entry]:
    """All configs, those that share a name side by side."""
    paths = [path for path in CONFIGS.glob("*/*.py") if path.parent.name != "_base_"]
    found = [Entry(path.parent.name, path.stem, Config.fromfile(path)) for path in paths]
    return sorted(found, key=lambda entry: (_by_number(_plain_stem(entry)), entry.name))


def _plain_stem(entry: Entry) -> str:
    """``voc_1-8`` of ``supervised/voc_1-8_unimatch``."""
    return "_".join(entry.stem.split("_")[:2])


def _by_number(stem: str) -> list:
    """``voc_92`` before ``voc_183``, ``voc_1-2`` before ``voc_1-16``."""
    return [(part.isdigit(), int(part) if part.isdigit() else part)
            for part in re.split(r"(\d+)", stem)]  # fmt: skip


# ---------------------------------------------------------------- tables


def configs_table(dataset: str) -> str:
    """The configs of a data set, by its name in their file names."""
    rows = []
    for entry in entries():
        if entry.stem.split("_")[0] == dataset:
            labeled, unlabeled = entry.images
            rows.append([
                f"[{entry.name}]({entry.name}.py)",
                entry.net,
                entry.crop,
                " + ".join(map(str, entry.counts.values())),
                f"{entry.config.train_cfg.max_iters:,}",
                f"{labeled:,}" + (f" + {unlabeled:,}" if unlabeled else ""),
                entry.split,
                entry.published if re.search(r"\d", entry.published) else "none",
            ])  # fmt: skip
    head = ["config", "net", "crop", "batch", "iterations", "images", "labels", "published mIoU"]
    return format_table(head, rows)


def published_table(folder: str) -> str:
    """The published numbers in the headers of a method's configs."""
    rows = [
        [f"[{entry.stem}.py]({entry.stem}.py)", entry.published]
        for entry in entries()
        if entry.folder == folder and entry.published and not entry.published.startswith("none")
    ]
    return format_table(["config", "published mIoU"], rows)


def protocol_table(split: str) -> str:
    """What the headers of the configs with one published list of labels say, for a page in docs."""
    rows = [
        [f"[{entry.name}](../configs/{entry.name}.py)", entry.net, entry.crop, entry.published]
        for entry in entries()
        if entry.split == f"`{split}`" and re.search(r"\d", entry.published)
    ]
    return format_table(["config", "net", "crop", "published mIoU"], rows)


def settings_table(method: str) -> str:
    """The settings of a method, from its dataclass."""
    rows = []
    for field in dataclasses.fields(MODELS.get(method).Settings):
        rule = field.metadata
        default = "needed" if field.default is dataclasses.MISSING else f"`{field.default!r}`"
        legal = ", ".join(f"`{choice!r}`" for choice in rule["choices"])
        if not legal and rule["low"] > float("-inf"):
            high = rule["high"]
            legal = (
                f">= {rule['low']:g}" if high == float("inf") else f"{rule['low']:g} to {high:g}"
            )
        rows.append([f"`{field.name}`", default, legal, rule["doc"].replace("|", "\\|")])
    return format_table(["`model.`", "default", "values", "meaning"], rows)


@cache
def builtin_rows() -> tuple[tuple[dict, float, float | None], ...]:
    """Our results on the built-in set: each with its mean, and its gain over the baseline on the same kind of CPU."""
    results = json.loads((ROOT / "docs" / "results" / "builtin.json").read_text())
    items = results["methods"]
    baselines = {item.get("cpu"): statistics.mean(item["seeds"])
                 for item in items if item["config"] == results["baseline"]}  # fmt: skip
    rows = []
    for item in items:
        mean = statistics.mean(item["seeds"])
        is_method = item["config"] != results["baseline"]
        rows.append((item, mean, mean - baselines[item.get("cpu")] if is_method else None))
    return tuple(rows)


def results_table(*names: str) -> str:
    """Our results on the built-in set: seeds, mean, sample deviation, gain over the baseline."""
    rows = [
        [
            item["method"] + (f" ({item['cpu']})" if "cpu" in item else ""),
            *(f"{seed:.2f}" for seed in item["seeds"]),
            f"{mean:.2f}",
            f"{statistics.stdev(item['seeds']):.2f}",
            "" if gain is None else f"{gain:+.2f}",
        ]
        for item, mean, gain in builtin_rows()
        if not names or item["config"] in names
    ]
    seeds = [f"seed {number}" for number in range(len(builtin_rows()[0][0]["seeds"]))]
    return format_table(["method", *seeds, "mean", "deviation", "gain"], rows)


# A method of the README's table: its title, its page in docs/methods, the config whose published number is
# shown, the row of our results on real images and the config of the one on the built-in set.
METHODS = (
    ("supervised", "", "supervised/voc_1-8", "weak", "supervised/shapes_1-8"),
    ("mean teacher", "mean_teacher", "mean_teacher/voc_1-8", "mean_teacher", "mean_teacher/shapes_1-8"),
    ("CutMix mean teacher", "cutmix_mean_teacher", "cutmix_mean_teacher/voc_1-8", "cutmix_mean_teacher",
     "cutmix_mean_teacher/shapes_1-8"),
    ("ClassMix in mean teacher", "classmix", "", "classmix", "fixmatch/shapes_1-8_classmix"),
    ("CPS", "cps", "cps/voc_1-8", "cps", ""),
    ("CPS+CutMix", "cps", "", "cps_cutmix", "cps/shapes_1-8"),
    ("FixMatch, EMA teacher", "fixmatch", "fixmatch/voc_366", "fixmatch", "fixmatch/shapes_1-8"),
    ("UniMatch V1", "unimatch", "unimatch/voc_366", "unimatch", "unimatch/shapes_1-8"),
    ("UniMatch V2", "unimatch_v2", "unimatch_v2/voc_366", "unimatch_v2", "unimatch_v2/shapes_1-8"),
    ("PrevMatch", "prevmatch", "prevmatch/voc_366", "prevmatch", "prevmatch/shapes_1-8"),
    ("AugSeg", "augseg", "augseg/voc_366", "augseg", "augseg/shapes_1-8"),
    ("CAC", "cac", "cac/voc_1-8", "cac", "cac/shapes_1-8"),
    ("U2PL", "u2pl", "u2pl/voc_366", "u2pl", "u2pl/shapes_1-8"),
    ("DST-CBC", "dst_cbc", "dst_cbc/voc_1-8", "dst_cbc", "dst_cbc/shapes_1-8"),
    ("DMT", "dmt", "dmt/voc_1-8", "dmt", "dmt/shapes_1-8"),
    ("ST", "st_plus_plus", "", "st", ""),
    ("ST++", "st_plus_plus", "st_plus_plus/voc_1-8", "st_plus_plus", "st_plus_plus/shapes_1-8"),
    ("AdvSemiSeg", "advsemiseg", "advsemiseg/voc_1-8", "advsemiseg", "advsemiseg/shapes_1-8"),
    ("s4GAN", "s4gan", "s4gan/voc_1-8", "s4gan", "s4gan/shapes_1-8"),
)  # fmt: skip


def _published_number(name: str) -> str:
    """The first published number of a config, with network and labels."""
    entry = next((entry for entry in entries() if entry.name == name), None)
    found = re.match(r"([\d.]+) mIoU", entry.published) if entry else None
    return (
        f"{found[1]} ({entry.net}, {entry.stem.split('_')[1].replace('-', '/')})" if found else ""
    )


def _gain(value: float, gain: float | None) -> str:
    return f"{value:.1f}" + (f" ({gain:+.1f})" if gain is not None else "")


def _run_cell(data: str, name: str) -> str:
    """Mean of the last mIoU of a row on a data set, and its gain over the better baseline."""
    protocol = PROTOCOLS[data]
    row = next((row for row in protocol.rows if row.name == name), None)
    records, found = todays_runs(protocol, read_all_results(data), row)
    if not found:
        return ""
    mean = statistics.mean(run["last"]["mIoU"] for run in found.values())
    gain = gain_and_share(protocol, row, found, records)[0]
    return _gain(mean, gain) + ("" if len(found) == len(protocol.seeds_of(row)) else "*")


def methods_table() -> str:
    """Every method: a published number on PASCAL VOC, our results, forward units."""
    builtin = {item["config"]: (mean, gain) for item, mean, gain in reversed(builtin_rows())}
    units = {row.name: f"{row.units:g}" for row in PROTOCOLS["nuclei"].rows}
    lines = []
    for title, page, published, row, config in METHODS:
        lines.append([
            f"[{title}](docs/methods/{page}.md)" if page else title,
            _published_number(published),
            *(_run_cell(data, row) for data in PROTOCOLS),
            _gain(*builtin[config]) if config in builtin else "",
            units.get(row, ""),
        ])  # fmt: skip
    head = ["method", "published, VOC", *PROTOCOLS, "built-in", "cost"]
    return format_table(head, lines)


TABLES = dict(
    configs=configs_table,
    published=published_table,
    protocol=protocol_table,
    settings=settings_table,
    results=results_table,
    runs=data_table,
    classes=classes_table,
    analysis=analysis_table,
    hours=hours_table,
    methods=methods_table,
)


# ---------------------------------------------------------------- metafiles


def metafile(folder: str) -> str:
    """``metafile.yml`` of a method, for mim."""
    readme = (CONFIGS / folder / "README.md").read_text()
    paper = re.search(r"^> \[(.+?)\]\((.+?)\)", readme, re.MULTILINE)
    own = [entry for entry in entries() if entry.folder == folder]
    kinds = [MODELS.get(entry.config.model.type) for entry in own]
    kind = max(kinds, key=kinds.count)
    code = Path(inspect.getfile(kind)).relative_to(ROOT).as_posix()
    lines = [
        "# Written by docs/generate_tables.py.",
        "Collections:",
        f"  - Name: {kind.__name__}",
        f"    Metadata: {{Training Techniques: [{json.dumps(readme.splitlines()[0][2:])}]}}",
        *([f"    Paper: {{URL: {paper[2]}, Title: {json.dumps(paper[1])}}}"] if paper else []),
        f"    README: configs/{folder}/README.md",
        f"    Code: {{URL: {code}}}",
        "Models:",
    ]
    for entry in own:
        labeled, unlabeled = entry.images
        data = f"{DATA[entry.config.train_dataloader.dataset.labeled.type][0]}, {labeled} labelled"
        data += f" and {unlabeled} unlabelled images" if unlabeled else " images"
        numbers = f"Batch Size: {sum(entry.counts.values())}, Iterations: {entry.config.train_cfg.max_iters}"
        lines.append(
            f"  - {{Name: {folder}_{entry.stem}, In Collection: {kind.__name__}, "
            f"Config: configs/{entry.name}.py, Metadata: {{Training Data: {json.dumps(data)}, {numbers}}}}}"
        )
    return "\n".join(lines) + "\n"


def model_index(folders: list[str]) -> str:
    """``model-index.yml``, read by mim and by mmengine.hub."""
    lines = ["# Written by docs/generate_tables.py. Read by mim and by mmengine.hub.get_config."]
    lines += ["Import:", *(f"  - configs/{folder}/metafile.yml" for folder in folders)]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- files


def generated() -> Iterator[tuple[Path, str]]:
    """Every file that holds something generated, with what it should hold."""
    folders = sorted({entry.folder for entry in entries()})
    for folder in folders:
        yield CONFIGS / folder / "metafile.yml", metafile(folder)
    yield ROOT / "model-index.yml", model_index(folders)
    pages = sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs" / "results").glob("*.md"))
    for path in [ROOT / "README.md", *sorted(CONFIGS.rglob("README.md")), *pages]:
        text = path.read_text()
        yield path, _TABLE.sub(lambda m: m[1] + TABLES[m[2]](*m[3].split()) + m[4], text)


def main() -> int:
    """Write, or check, all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, name stale files")
    check = parser.parse_args().check
    stale = 0
    for path, text in generated():
        if not path.is_file() or path.read_text() != text:
            stale += 1
            print(f"{path.relative_to(ROOT)} {'is stale: make tables' if check else 'written'}")
            if not check:
                path.write_text(text)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
