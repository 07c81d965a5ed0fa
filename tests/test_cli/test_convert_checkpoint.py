# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi convert-checkpoint``: what the converters are told."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from mmsemi.checkpoint_converters import advsemiseg
from mmsemi.cli.convert_checkpoint import CONVERTERS, build_parser, main
from mmsemi.errors import ConfigError


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_arguments_are_those_of_the_function(name):
    settings = vars(build_parser().parse_args([name, "a.pth", "b.pth"]))
    convert = inspect.signature(import_module(f"mmsemi.checkpoint_converters.{name}").convert)
    assert set(settings) - {"name", "force"} == set(convert.parameters)
    for key, parameter in convert.parameters.items():
        assert parameter.default in (parameter.empty, settings[key])


def test_an_existing_file_is_replaced_on_demand_alone(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(advsemiseg, "convert", lambda **settings: called.append(settings))
    out = tmp_path / "out.pth"
    out.write_text("mine")
    monkeypatch.chdir(tmp_path)
    Path("a.pth").touch()
    arguments = ["advsemiseg", "a.pth", str(out), "--branches", "4"]
    with pytest.raises(ConfigError, match=r"out\.pth"):
        main(arguments)
    assert called == []
    main([*arguments, "--force"])
    assert called == [dict(source=Path("a.pth"), out=out, branches=4)]
