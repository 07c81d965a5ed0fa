# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Configs by path and by name, and what --cfg-options may set in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmsemi.errors import ConfigError
from mmsemi.utils import config_files
from mmsemi.utils.config_files import (
    default_work_dir,
    find_config,
    find_shipped,
    load_config,
    parse_options,
    read_config,
    set_options,
    spread_options,
)


def write(path: Path, text: str = "model = dict(type='CPS')\n") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A checkout with a config, and another working directory."""
    write(tmp_path / "checkout" / "configs" / "cps" / "shapes_1-8.py")
    write(tmp_path / "checkout" / "configs" / "_base_" / "models" / "net.py")
    monkeypatch.setattr(config_files, "PACKAGE", tmp_path / "checkout" / "mmsemi")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


# --- Finding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cps/shapes_1-8", "cps/shapes_1-8.py", "configs/cps/shapes_1-8"])
def test_a_config_is_found_by_name_from_any_folder(project, name):
    expected = project / "checkout" / "configs" / "cps" / "shapes_1-8.py"
    assert find_config(name) == str(expected) == find_config(str(expected))
    write(Path("configs/cps/shapes_1-8.py"))
    assert find_config(name) == "configs/cps/shapes_1-8.py"  # that of the working folder counts


def test_a_config_of_the_wheel_is_found(project):
    config = write(project / "checkout" / "mmsemi" / ".mim" / "configs" / "cps" / "wheel.py")
    assert find_config("cps/wheel") == config


def test_a_shipped_list_is_found_behind_one_of_the_working_folder(project):
    assert find_shipped("splits/mine/pool.txt") == Path("splits/mine/pool.txt")
    shipped = write(project / "checkout" / "mmsemi" / ".mim" / "splits" / "mine" / "pool.txt")
    write(project / "checkout" / "mmsemi" / ".mim" / "configs" / "cps" / "wheel.py")
    assert find_shipped("splits/mine/pool.txt") == Path(shipped)
    own = write(project / "elsewhere" / "splits" / "mine" / "pool.txt")
    assert find_shipped("splits/mine/pool.txt").resolve() == Path(own)
    assert find_shipped(own) == Path(own)


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("cps/shape_1-8", "'cps/shapes_1-8'"),
        ("configs/cps/shape_1-8.py", "'configs/cps/shapes_1-8.py'"),
        ("mine/modle.py", "'mine/model.py'"),
    ],
)
def test_a_missing_config_names_those_that_resemble_it(project, name, close):
    write(Path("mine/model.py"))
    with pytest.raises(ConfigError, match=name) as error:
        find_config(name)
    assert close in str(error.value)


def test_a_folder_is_no_config(project):
    with pytest.raises(ConfigError, match="checkout"):
        find_config(str(project / "checkout"))


def test_a_config_of_another_package_is_found():
    path = find_config("mmseg::_base_/models/fcn_r50-d8.py")
    assert path.endswith("mmseg/.mim/configs/_base_/models/fcn_r50-d8.py")
    with pytest.raises(ConfigError, match="'_base_/models/fcn_r50-d8.py'"):
        find_config("mmseg::_base_/models/fcn_r50-d9.py")


def test_shipped_configs_of_one_name_have_work_dirs_of_their_own(project):
    assert default_work_dir(find_config("cps/shapes_1-8")) == "work_dirs/cps/shapes_1-8"
    assert default_work_dir("mine/shapes_1-8.py") == "work_dirs/shapes_1-8"


# --- Loading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("model = dict(\n", "line 1"),
        ("_base_ = './absent.py'\n", "absent.py"),
        ("x = undefined_name\n", "undefined_name"),
    ],
)
def test_a_broken_config_is_named_with_its_fault(tmp_path, text, culprit):
    with pytest.raises(ConfigError, match=culprit) as error:
        load_config(write(tmp_path / "broken.py", text))
    assert "broken.py" in str(error.value)


# --- Options --------------------------------------------------------------------------------------


@pytest.fixture
def config() -> Config:
    return Config(
        {
            "randomness": {"seed": 1},
            "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}},
            "model": {"type": "EncoderDecoder"},
        }
    )


def test_options_are_read_as_mmengine_reads_them():
    assert parse_options(["a.b=1", "c=[1,2]", "d=(0.5,x)", "e=None", "f=x=y"]) == {
        **{"a.b": 1, "c": [1, 2], "d": (0.5, "x")},
        **{"e": None, "f": "x=y"},
    }


@pytest.mark.parametrize("pair", ["train_cfg.max_iters", "=1", "a=[1,2"])
def test_an_option_without_value_is_refused(pair):
    with pytest.raises(ConfigError) as error:
        parse_options([pair])
    assert pair in str(error.value)


def test_legal_options_are_set_silently(config, capsys):
    options = {
        "optim_wrapper.optimizer.lr": 0.5,
        "model.backbone.with_cp": True,
        "work_dir": "x",
        "find_unused_parameters": True,
    }
    set_options(config, options)
    assert config.optim_wrapper.optimizer.lr == 0.5 and config.model.backbone.with_cp
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("key", "close"), [("optim_wraper.optimizer.lr", "'optim_wrapper'"), ("randomness.seed.x", "")]
)
def test_an_option_that_nothing_reads_is_refused(config, key, close):
    with pytest.raises(ConfigError, match=key) as error:
        set_options(config, {key: 1})
    assert close in str(error.value)


def test_a_new_key_beside_a_similar_one_gets_a_note(config, capsys):
    set_options(config, {"optim_wrapper.optimiser.lr": 1})
    note = capsys.readouterr().err
    assert "'optimiser'" in note and "'optimizer'" in note


def test_a_config_is_read_with_its_options(project):
    config = read_config("cps/shapes_1-8", {"model.type": "FixMatch"})
    assert config.model.type == "FixMatch"


def test_one_setting_reaches_the_gates_of_all_evaluators():
    config = load_config(find_config("s4gan/shapes_1-8_fused"))
    options = {"gate.scores": "x.npz", "gate.threshold": 0.3, "randomness.seed": 3}
    set_options(config, options)
    gate = dict(classifier="configs/mlmt/shapes_1-8.py", scores="x.npz", threshold=0.3)
    assert config.val_evaluator[1].gate == config.test_evaluator[1].gate == gate == config.gate
    # What mmseg's own tool merges, which knows nothing of it.
    stock = load_config(find_config("s4gan/shapes_1-8_fused"))
    stock.merge_from_dict(spread_options(config, options))
    assert stock.to_dict() == config.to_dict()


def test_a_gate_that_no_evaluator_has_is_refused(config):
    with pytest.raises(ConfigError, match=r"gate\.scores"):
        set_options(config, {"gate.scores": "x.npz"})
