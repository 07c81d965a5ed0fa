# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The command line stays what was typed."""

from __future__ import annotations

import sys

import pytest

from mmsemi.utils.command_line import command_line, with_arguments


def test_a_part_has_arguments_of_its_own_and_the_command_stays(monkeypatch):
    typed = ["mmsemi train", "my own.py", "--baseline"]
    monkeypatch.setattr(sys, "argv", typed)
    shown = "mmsemi train 'my own.py' --baseline"
    assert command_line() == shown
    with pytest.raises(KeyError), with_arguments(["a.py"]):
        assert sys.argv == ["mmsemi train", "a.py"]
        with with_arguments(["b.py"]):
            assert sys.argv == ["mmsemi train", "b.py"] and command_line() == shown
        assert command_line() == shown
        raise KeyError
    assert sys.argv is typed and command_line() == shown
