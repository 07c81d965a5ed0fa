# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi make-shapes`` writes, checks, replaces, and removes nothing but its own files."""

from __future__ import annotations

import pytest

from mmsemi.cli.make_shapes import main
from mmsemi.errors import DataError


def test_a_data_set_is_made_once_and_replaced_on_demand(tmp_path, capsys):
    out = tmp_path / "shapes"
    arguments = ["--out", str(out), "--num-val", "1"]
    main([*arguments, "--num-train", "3"])
    assert "wrote 4 images" in capsys.readouterr().out
    main([*arguments, "--num-train", "3"])
    assert "complete already" in capsys.readouterr().out
    with pytest.raises((DataError, RuntimeError), match="num_train=3"):
        main([*arguments, "--num-train", "2"])
    main([*arguments, "--num-train", "2", "--overwrite"])
    assert len(list((out / "JPEGImages").iterdir())) == 3


@pytest.mark.parametrize("foreign", ["shapes/mine.txt", "shapes"])
def test_what_is_not_its_own_is_not_removed(tmp_path, foreign):
    main(["--out", str(tmp_path / "shapes"), "--num-train", "1", "--num-val", "1"])
    path = tmp_path / foreign
    if path.is_dir():
        path = tmp_path / "plain" / "shapes"
        path.parent.mkdir()
    path.write_text("keep")
    out = path if path.name == "shapes" else path.parent
    with pytest.raises(DataError, match=path.name):
        main(["--out", str(out), "--overwrite"])
    assert path.read_text() == "keep"
