# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The twin differs from its config by the method alone."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmsemi.errors import ConfigError
from mmsemi.utils.config_files import read_config
from mmsemi.utils.supervised_twin import supervised_twin


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("cps/shapes_1-8", dict(labeled=8, unlabeled=0)),
        ("unimatch/nuclei_4", dict(labeled=4, unlabeled=0)),
        ("advsemiseg/shapes_1-8", dict(labeled=8, unlabeled=0, gt=0)),
    ],
)
def test_the_twin_of_a_shipped_config(name, drawn):
    config = read_config(name)
    before = config.pretty_text
    twin = supervised_twin(config)
    assert config.pretty_text == before
    assert twin.model.type == "Supervised"
    assert twin.model.segmentor == config.model.segmentor
    assert twin.model.data_preprocessor == config.model.data_preprocessor
    assert set(twin.model) <= {"type", "segmentor", "data_preprocessor", "backbone_norm_eval"}
    assert twin.train_dataloader.sampler.num_per_source == drawn
    assert twin.train_dataloader.dataset == config.train_dataloader.dataset
    assert twin.train_cfg == config.train_cfg and twin.param_scheduler == config.param_scheduler
    assert twin.optim_wrapper.optimizer == config.optim_wrapper.optimizer
    assert "discriminator" not in twin.optim_wrapper
    assert "constructor" not in twin.optim_wrapper


def test_it_is_the_shipped_baseline():
    twin = supervised_twin(read_config("fixmatch/nuclei_4")).to_dict()
    baseline = read_config("supervised/nuclei_4").to_dict()
    for key in ("model", "optim_wrapper", "param_scheduler", "train_cfg", "train_dataloader"):
        assert twin[key] == baseline[key], key


def test_what_has_no_twin():
    for name in ("supervised/nuclei_4", "mlmt/shapes_1-8"):
        with pytest.raises(ConfigError, match="has no supervised twin"):
            supervised_twin(read_config(name))
    passes = dict(model=dict(type="CPS", segmentor=dict()), train_cfg=dict(epochs=3))
    with pytest.raises(ConfigError, match="epochs=3"):
        supervised_twin(Config(passes))


def test_pictures_of_pseudo_labels_are_left_out():
    hooks = [dict(type="PseudoLabelVisHook"), dict(type="ResumableEarlyStoppingHook", monitor="x")]
    config = read_config("cps/shapes_1-8")
    config.custom_hooks = hooks
    assert [hook.type for hook in supervised_twin(config).custom_hooks] == [
        "ResumableEarlyStoppingHook"
    ]
