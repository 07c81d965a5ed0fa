# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The published settings of CPS and mean teachers against the numbers of their sources; ours; all files.

The numbers are typed from the papers and released codes, not from the configs; docs/methods cites them.
"""

from __future__ import annotations

import re

from config_files import (
    CONFIGS,
    NAMES,
    POLY,
    RATIOS,
    check_all,
    differing,
    on_meta,
    read,
    settings_of,
    sgd,
)
from mmengine.config import Config
from mmseg.registry import DATASETS
from test_configs_published_adversarial import ADVERSARIAL, FUSED, MLMT
from test_configs_published_augseg_cac_u2pl import AUGSEG_LABELS, CAC_CPS, CAC_FILES, U2PL_LABELS
from test_configs_published_self_training import FILES as SELF_TRAINING
from test_configs_published_self_training import MIOU as SELF_TRAINING_MIOU
from test_configs_published_unimatch import PREVMATCH_LABELS, UNIMATCH, UNIMATCH_LABELS, V2_LABELS

# ---------------------------------------------------------------- CPS, mean teacher, CutMix mean teacher

# GPUs, labelled images a GPU, crop, weight decay, lambda; passes and iterations of each by labels.
CPS = {"voc": (4, 2, 512, 4e-4, 1.5), "cityscapes": (8, 1, 800, 8e-4, 6.0)}
CPS_LENGTHS = {
    **dict(zip((f"voc_1-{r}" for r in RATIOS), [(1240, 39680), (1157, 39338), (992, 39680), (661, 39660)])),
    # A validation every 5 passes.
    **dict(zip((f"cityscapes_1-{r}" for r in RATIOS), [(1740, 44544), (1625, 44525), (1395, 44640), (930, 44640)])),
    **{f"voc_{count}": (1322, 39660) for count in (92, 183, 366, 732)},
}  # fmt: skip
CPS_LABELS = {
    **{f"voc_1-{r}": (f"cps_voc_1of{r}", n) for r, n in zip(RATIOS, (662, 1323, 2646, 5291))},
    **{f"cityscapes_1-{r}": (f"cps_city_1of{r}", n) for r, n in zip(RATIOS, (186, 372, 744, 1488))},
    **{
        f"voc_{count}": (f"cps_voc_pseudoseg_1of{r}", count)
        for count, r in zip((92, 183, 366, 732), RATIOS)
    },
}
TEACHER = dict(momentum=0.01, rampup_iters=0, ema_when="mid", buffers="keep", teacher_mode="train")


def test_cps_protocol():
    def check(name: str, config: Config):
        folder, stem = name.split("/")
        gpus, labeled, crop, decay, weight = CPS[stem.split("_")[0]]
        is_few = "-" not in stem
        unlabeled = labeled * (2 if is_few or folder.startswith("cutmix") else 1)
        if folder == "supervised":
            unlabeled = 0
        each, iterations = CPS_LENGTHS[stem]
        labels, count = CPS_LABELS[stem]
        expected = dict(
            batch=(labeled, unlabeled, 0), total=gpus * (labeled + unlabeled), iterations=iterations,
            validations_each=each, optimizer=sgd(0.0025, decay), schedule=POLY, labels=labels,
            labeled=count, pool="all" if is_few else "rest", crop=(crop, crop),
            paramwise=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
        )  # fmt: skip
        yield from differing(settings_of(config), expected)
        model = on_meta(config.model)
        found, wanted = dict(vars(model.settings)), {}
        if folder == "cps":
            wanted = dict(unsup_weight=0.1 if is_few else weight, predict_on=0, rampup_iters=0)
            if (model.mix is not None) != is_few:
                yield f"mix is {model.mix}"
        if folder == "mean_teacher":
            wanted = dict(TEACHER, unsup_weight=100.0, consistency="mse", confidence_threshold=None,
                          consistency_on_labeled=True, predict_on="student", strong=None, mix=None)  # fmt: skip
        if folder == "cutmix_mean_teacher":
            wanted = dict(TEACHER, unsup_weight=1.0, consistency="squared_distance",
                          confidence_threshold=0.97, confidence_mode="mean", ignore_padding=True,
                          consistency_on_labeled=False, predict_on="teacher")  # fmt: skip
            mix = model.mix
            if (mix.num_boxes, mix.area_range, mix.pairing) != (1, (0.5, 0.5), "halves"):
                yield f"mix is {vars(mix)}"
        yield from differing(found, wanted)
        head, test = config.model.segmentor.decode_head, config.model.segmentor.test_cfg
        if stem.startswith("cityscapes"):
            ohem = dict(type="ProbOhemCrossEntropy", thresh=0.7, min_kept=50_000)
            window = dict(mode="slide", crop_size=(800, 800), stride=(534, 534))
            yield from differing(
                dict(loss=head.loss_decode, test=test, type=config.model.segmentor.type),
                dict(loss=ohem, test=window, type="EncoderDecoder"),
            )
        elif config.model.data_preprocessor.test_cfg.size != (512, 512) or test.mode != "whole":
            yield "images are padded to 512 in tests"

    names = [f"{folder}/{stem}" for folder in ("supervised", "cps") for stem in CPS_LENGTHS]
    names += [
        f"{folder}/{stem}"
        for folder in ("mean_teacher", "cutmix_mean_teacher")
        for stem in CPS_LENGTHS
        if "-" in stem
    ]
    check_all(names, check)


# ---------------------------------------------------------------- ours, and all


def test_our_settings():
    """CamVid and the built-in set: batches, and ramp-ups over half of the run from random weights."""

    def check(name: str, config: Config):
        folder, stem = name.split("/")
        labeled = 4 if stem.endswith("small") else 8
        twice = folder.startswith("cutmix") or (folder == "cps" and stem.startswith("camvid"))
        unlabeled = 0 if folder == "supervised" else labeled * (2 if twice else 1)
        counts = config.train_dataloader.sampler.num_per_source
        if (counts.labeled, counts.unlabeled) != (labeled, unlabeled):
            yield f"draws {counts}"
        if config.model.segmentor.backbone.get("init_cfg") is not None:
            yield "starts from weights"
        ramp = config.model.get("rampup_iters")
        if stem.startswith("camvid") and ramp not in (None, config.train_cfg.max_iters // 2):
            yield f"ramped up over {ramp} iterations"
        if folder == "fixmatch" and config.model.labels_from != "teacher":
            yield "the student labels"

    check_all(
        [
            name
            for name in NAMES
            if re.search(
                r"^(?!mlmt|dst_cbc|dmt|st_plus_plus).*/(camvid|shapes)_1-8(_small)?$", name
            )
        ],
        check,
    )


def test_each_method_has_exactly_its_files():
    real = {"nuclei_4", "camvid_6"}
    ours = {"shapes_1-8", "camvid_1-8", "camvid_1-8_small", *real}
    ratios = {stem for stem in CPS_LENGTHS if "-" in stem}
    gans = {"shapes_1-8", "camvid_1-8", "cityscapes_full-resolution", *real}
    plateau = {f"shapes_plateau_{kind}" for kind in ("baseline", "adversarial", "semi")}
    published = {folder: {name.split("/")[1] for name in ADVERSARIAL if name.startswith(folder)}
                 for folder in ("advsemiseg", "s4gan")}  # fmt: skip
    baselines = {f"{stem}_{folder}" for folder, stems in published.items() for stem in stems
                 if not stem.endswith(("_legacy-lr", "_adversarial"))}  # fmt: skip
    expected = {
        "supervised": {*ours, *CPS_LENGTHS, *(f"{x}_unimatch" for x in UNIMATCH_LABELS),
                       *(f"{x}_augseg" for x in AUGSEG_LABELS), *(f"{x}_cac" for x in CAC_FILES),
                       *(f"{x}_unimatch_v2" for x in V2_LABELS), *(f"{x}_u2pl" for x in U2PL_LABELS),
                       *baselines, *SELF_TRAINING["supervised"]},
        "cps": {*ours, *CPS_LENGTHS, *CAC_CPS},
        "cac": {*ours, *CAC_FILES},
        "u2pl": {*ours, *U2PL_LABELS},
        "mean_teacher": {*ours, *ratios},
        "cutmix_mean_teacher": {*ours, *ratios},
        "fixmatch": {*ours, *UNIMATCH_LABELS, "shapes_1-8_classmix"},
        "unimatch": {*ours, *UNIMATCH_LABELS},
        "unimatch_v2": {"shapes_1-8", *real, *V2_LABELS},
        "prevmatch": {"shapes_1-8", *real, *PREVMATCH_LABELS},
        "augseg": {*ours, *AUGSEG_LABELS},
        "advsemiseg": {*gans, *plateau, *published["advsemiseg"], "shapes_1-8_adversarial",
                       "voc_published_checkpoint"},
        "s4gan": {*gans, *published["s4gan"], *(f"{stem}_fused" for stem in FUSED)},
        "mlmt": {"shapes_1-8", *MLMT},
        **{folder: {"shapes_1-8", "camvid_1-8", *real, *SELF_TRAINING[folder]}
           for folder in ("dst_cbc", "dmt", "st_plus_plus")},
    }  # fmt: skip
    found = {
        folder: {x.split("/")[1] for x in NAMES if x.startswith(f"{folder}/")}
        for folder in expected
    }
    for folder, stems in expected.items():
        assert found[folder] == stems, folder


# The main number of each header: CPS, then re-runs in its paper; UniMatch's README and logs; AugSeg's logs, R101,
# best teacher epoch; CAC's tables, as marked; AdvSemiSeg and s4GAN as marked there.
MIOU = {
    "cps/voc_1-": dict(zip(RATIOS, (68.21, 73.20, 74.24, 75.91))),
    "cps/cityscapes_1-": dict(zip(RATIOS, (69.79, 74.39, 76.85, 78.64))),
    "cps/voc_": {92: 64.07, 183: 67.42, 366: 71.71, 732: 75.88},
    "supervised/voc_1-": {8: 69.43},
    "supervised/cityscapes_1-": dict(zip(RATIOS, (64.90, 70.32, 74.11, 76.22))),
    "mean_teacher/voc_1-": dict(zip(RATIOS, (66.77, 70.78, 73.22, 75.41))),
    "mean_teacher/cityscapes_1-": dict(zip(RATIOS, (66.14, 72.03, 74.47, 77.43))),
    "cutmix_mean_teacher/voc_1-": dict(zip(RATIOS, (68.90, 70.70, 72.46, 74.49))),
    "cutmix_mean_teacher/cityscapes_1-": dict(zip(RATIOS, (67.06, 71.83, 76.36, 78.25))),
    "unimatch/voc_": {92: 75.2, 183: 77.2, 366: 78.8, 732: 79.9, 1464: 81.2},
    "unimatch/voc_1-": {16: 77.0, 8: 77.4, 4: 77.4},
    "unimatch/cityscapes_1-": dict(zip(RATIOS, (76.6, 77.9, 79.2, 79.5))),
    "unimatch/coco_1-": {512: 31.9, 256: 38.9, 128: 44.4, 64: 48.2, 32: 49.8},
    "prevmatch/voc_": {92: 77.0, 183: 78.5, 366: 79.6, 732: 80.4, 1464: 81.6},
    "prevmatch/cityscapes_1-": dict(zip(RATIOS, (77.7, 78.9, 80.1, 80.1))),
    "unimatch_v2/voc_": {92: 79.0, 183: 85.5, 366: 85.9, 732: 86.7, 1464: 87.8},
    "unimatch_v2/cityscapes_1-": dict(zip(RATIOS, (80.6, 81.9, 82.4, 82.6))),
    "unimatch_v2/ade20k_1-": {64: 31.5, 32: 38.1, 16: 40.7, 8: 44.4, 4: 45.8},
    "unimatch_v2/coco_1-": {512: 39.3, 256: 45.4, 128: 53.2, 64: 55.0, 32: 57.0},
    "augseg/voc_": {92: 71.09, 183: 75.45, 366: 78.66, 732: 80.33, 1464: 81.36},
    "augseg/voc_1-": {16: 77.01, 8: 77.31, 4: 78.82},
    "augseg/cityscapes_1-": dict(zip(RATIOS, (75.22, 77.82, 79.56, 80.43))),
    "u2pl/voc_": {92: 67.98, 183: 69.15, 366: 73.66, 732: 76.16, 1464: 79.49},
    "u2pl/voc_1-": dict(zip(RATIOS, (77.21, 79.01, 79.30, 80.50))),
    "u2pl/cityscapes_1-": dict(zip(RATIOS, (70.30, 74.37, 76.47, 79.05))),
    "cac/voc_": {"1-16": 70.1, "1-8": 72.4, "1-4": 74.0, "full": 76.5, "1-16_psp": 67.1, "1-8_psp": 71.3,
                 "1-4_psp": 72.5, "full_psp": 76.4},
    "cac/cityscapes_1-": {8: 69.7, 4: 72.7},
    "supervised/voc_{}_cac": {"1-16": 63.9, "1-8": 68.3, "1-4": 71.2, "full": 76.3, "1-16_psp": 57.4,
                              "1-8_psp": 65.0, "1-4_psp": 68.3, "full_psp": 75.1},
    "supervised/cityscapes_{}_cac": {"1-8": 66.0, "1-4": 70.7},
    "advsemiseg/voc_": {"1-8": 69.5, "1-4": 72.1, "1-2": 73.8, "full": 74.9, "1-8_adversarial": 67.6,
                        "1464": 68.4, "published_checkpoint": 68.8},
    "advsemiseg/cityscapes_": {"1-8": 58.8, "1-4": 62.3, "1-2": 65.7, "full": 67.7},
    "supervised/voc_{}_advsemiseg": {"1-8": 66.0, "1-4": 68.3, "1-2": 69.8, "full": 73.6, "1464": 66.3},
    "supervised/cityscapes_{}_advsemiseg": {"1-8": 55.5, "1-4": 59.9, "1-2": 64.1, "full": 66.4},
    "s4gan/voc_": {"1-8": 65.4, "1-8_coco": 69.8},
    "s4gan/voc_{}_fused": {"1-50": 60.4, "1-20": 62.9, "1-8": 67.3, "full": 73.2,
                           "1-50_coco": 63.3, "1-20_coco": 67.2, "1-8_coco": 71.4, "full_coco": 75.6},
    "s4gan/context_{}_fused": {"1-8": 35.3, "1-4": 37.8, "full": 41.1},
    "s4gan/cityscapes_": {"1-8": 59.3, "1-4": 61.9, "full": 65.8},
    "supervised/voc_{}_s4gan": {"1-50": 48.3, "1-20": 56.8, "1-8": 62.0, "full": 70.7},
    "supervised/cityscapes_{}_s4gan": {"1-8": 56.2, "1-4": 60.2, "full": 66.0},
    "supervised/context_{}_s4gan": {"1-8": 32.1, "1-4": 35.4, "full": 41.0},
}  # fmt: skip


def test_published_numbers():
    expected = {
        pattern.format(labels) if "{}" in pattern else f"{pattern}{labels}": number
        for pattern, numbers in MIOU.items()
        for labels, number in numbers.items()
    } | SELF_TRAINING_MIOU
    found = {}
    for name in NAMES:
        text = (CONFIGS / f"{name}.py").read_text()
        published = re.search(r"^# Published: (.*)$", text, re.MULTILINE)
        number = published and re.search(r"(\d\d\.\d\d?) mIoU", published[1])
        if number:
            found[name] = float(number[1])
    assert found == expected


def test_classes_of_the_data_sets():
    for stem in UNIMATCH_LABELS:
        dataset = read(f"supervised/{stem}_unimatch").val_dataloader.dataset
        classes = DATASETS.get(dataset.type).METAINFO["classes"]
        assert len(classes) == UNIMATCH[stem.split("_")[0]][6]
