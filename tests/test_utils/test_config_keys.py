# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Settings that nothing reads."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmsemi.errors import ConfigError
from mmsemi.utils.config_files import set_options
from mmsemi.utils.config_keys import check_config_keys, places

LOADER = dict(batch_size=2, dataset=dict(crop_size=(32, 32)))


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (dict(optim_wraper=dict(type="OptimWrapper")), "optim_wrapper"),
        (dict(custom_hook=[dict(type="EMAHook")]), "custom_hooks"),
        (dict(load_form="w.pth"), "load_from"),
        (dict(resum=True), "resume"),
        (dict(val_dataloder=None), "val_dataloader"),
        (dict(lr_config=dict(policy="poly")), "param_scheduler"),
        (dict(env_cfg=dict(cudnn_benchmrk=True)), "cudnn_benchmark"),
        (dict(auto_scale_lr=dict(base_batchsize=2)), "base_batch_size"),
        (dict(randomness=dict(sed=1)), "seed"),
    ],
)
def test_misspelt_settings_are_refused(extra: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_config_keys(Config(dict(train_dataloader=LOADER, **extra)))


@pytest.mark.parametrize(
    "extra",
    [
        dict(train_dataloaders=LOADER),  # a variable that a setting has got
        dict(crop_size=(32, 32), scales=[1, 2], dataset_type="CityscapesDataset"),
        dict(train_pipeline=[dict(type="LoadImageFromFile")]),  # a base's, replaced since
        dict(env_cfg=dict(cudnn_benchmark=True), auto_scale_lr=dict(enable=True)),
    ],
)
def test_variables_are_left_alone(extra: dict) -> None:
    check_config_keys(Config(dict(train_dataloader=LOADER, **extra)))


def test_an_option_must_reach_a_setting() -> None:
    config = Config(dict(crop_size=(32, 32), note="a", train_dataloader=LOADER))
    assert places(config, "crop_size") == ["train_dataloader.dataset.crop_size"]
    with pytest.raises(ConfigError, match="train_dataloader.dataset.crop_size"):
        set_options(config, {"crop_size": (64, 64)})
    set_options(config, {"note": "b", "train_dataloader.dataset.crop_size": (64, 64)})


@pytest.mark.parametrize(
    ("paramwise", "named"),
    [
        (dict(norm_decay_multi=0.0), "norm_decay_mult"),
        (dict(custom_key={}), "custom_keys"),
        (dict(custom_keys={"weight": dict(lr_mul=0.1)}), "lr_mult"),
    ],
)
def test_rates_that_nothing_reads(paramwise: dict, named: str) -> None:
    optimizer = dict(type="SGD", lr=0.1, weight_decay=1e-4)
    config = dict(type="OptimWrapper", optimizer=optimizer, paramwise_cfg=paramwise)
    with pytest.raises(ConfigError, match=named):
        build_optim_wrapper(nn.Linear(2, 2), config)
    config["paramwise_cfg"] = dict(custom_keys={"weight": dict(lr_mult=0.1, momentum=0.5)})
    assert build_optim_wrapper(nn.Linear(2, 2), config).get_lr()["lr"] == [0.1 * 0.1, 0.1]
