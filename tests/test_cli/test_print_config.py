# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi print-config``: the same config, and who set what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmsemi.cli.print_config import main
from mmsemi.errors import ConfigError
from mmsemi.utils.config_files import find_config


@pytest.fixture
def chain(tmp_path, monkeypatch) -> Path:
    """A config over two bases, one of which has a base."""
    monkeypatch.chdir(tmp_path)
    Path("root.py").write_text("model = dict(type='A', head=dict(width=1, depth=2), kept=(1,))\n")
    Path("net.py").write_text("_base_ = 'root.py'\nmodel = dict(head=dict(width=3))\n")
    Path("data.py").write_text("size = [1, 2]\nodd = {'a-b': float('inf')}\nempty = dict()\n")
    Path("leaf.py").write_text(
        "_base_ = ['net.py', 'data.py']\nmodel = dict(type='B', head=dict(depth=2))\n"
        "flip = {{_base_.size}}\n"
    )
    return tmp_path / "leaf.py"


def origins(text: str) -> dict[str, str]:
    """Text of each commented line -> its comment."""
    return dict(re.findall(r"^\s*(.+?),? +# (.+)$", text, re.MULTILINE))


def test_each_value_has_the_file_that_set_it(chain, capsys):
    main(["leaf", "--cfg-options", "size=[5,6]", "model.new=1"])
    assert origins(capsys.readouterr().out) == {
        "type='B'": "leaf.py",
        "width=3": "net.py",
        "depth=2": "root.py",  # repeated by the leaf
        "kept=(1,)": "root.py",
        "new=1": "--cfg-options",
        "size = [5, 6]": "--cfg-options",
        "'a-b': float('inf')": "data.py",
        "empty = dict()": "data.py",
        "flip = [1, 2]": "leaf.py",
    }


def test_what_a_variable_of_the_base_gives_is_the_bases(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("method.py").write_text(
        "method = dict(type='M', rate=1, mix=dict(type='X', size=2))\nother = dict(method, rate=3)\n"
    )
    Path("net.py").write_text("model = dict(type='Plain', width=4)\n")
    Path("leaf.py").write_text(
        "_base_ = ['net.py', 'method.py']\nmodel = dict(_base_.other, depth=5)\n"
        "model.update(mix=dict(_base_.method.mix, size=6))\nsame = _base_.method.mix\n"
    )
    main(["leaf", "model"])
    assert origins(capsys.readouterr().out) == {
        "type='M'": "method.py",
        "width=4": "net.py",
        "rate=3": "method.py",
        "type='X'": "method.py",
        "size=6": "leaf.py",
        "depth=5": "leaf.py",
    }
    main(["leaf", "same.size"])
    assert origins(capsys.readouterr().out) == {"same.size = 2": "method.py"}


@pytest.mark.parametrize("name", ["chain", "unimatch/voc_92"])
def test_what_is_printed_is_the_same_config(chain, capsys, tmp_path, name):
    name = "leaf.py" if name == "chain" else name
    main([name])
    (tmp_path / "printed.py").write_text(capsys.readouterr().out)
    printed = Config.fromfile(tmp_path / "printed.py")
    assert printed.to_dict() == Config.fromfile(find_config(name)).to_dict()


def test_a_part_of_it(chain, capsys):
    main(["leaf", "model.head"])
    assert list(origins(capsys.readouterr().out)) == ["width=3", "depth=2"]
    main(["leaf", "model.head.width"])
    assert origins(capsys.readouterr().out) == {"model.head.width = 3": "net.py"}
    with pytest.raises(ConfigError, match=r"model\.haed") as error:
        main(["leaf", "model.haed"])
    assert "'head'" in str(error.value)
