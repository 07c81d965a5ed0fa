# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Results of older code that give the same first steps today."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up_rows import FIXMATCH, START, make_protocol

from mmsemi.errors import TrainingError
from runs import first_steps, results
from runs.code import ROOT, file_hash
from runs.make import make_run
from runs.rows import PROTOCOLS, Protocol
from runs.settings import settings_hash

NAME = "mmsemi/models/forward.py"


@pytest.fixture
def protocol(tmp_path, monkeypatch) -> Protocol:
    return make_protocol(tmp_path, monkeypatch)


def add(protocol: Protocol, seed: int, file: str, **more) -> None:
    """A stored result of FixMatch, with the content of a file as it was."""
    record = dict(
        data="made_up", kind="run", method="fixmatch", seed=seed, commit=f"commit of {file}",
        changed=False, settings=settings_hash(protocol, FIXMATCH), machine=dict(cpu="another"), weights="w",
    )  # fmt: skip
    results.add_result({**record, **more}, {NAME: file})


@pytest.mark.parametrize("now", ("as then", "another"))
def test_older_code_stands_for_todays_if_the_first_steps_are_equal(protocol, monkeypatch, now):
    today = {NAME: file_hash(ROOT / NAME)}
    for seed, file in ((1, "a"), (2, "a"), (3, "b"), (4, today[NAME])):
        add(protocol, seed, file)
    add(protocol, 5, "a", settings="others")
    add(protocol, 6, "a", changed=True)
    of = {"commit of a": "as then", "commit of b": "as then, too", str(ROOT): now}

    class Tree:
        def __init__(self, commit, files):
            self.commit, self.files = commit, files

        def __enter__(self):
            assert self.files == {NAME: self.commit[-1]}
            return self.commit

        def __exit__(self, *_):
            return None

    def steps(run, tree, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(f'{{"files": {{"{NAME}": "{today[NAME]}"}}}}')
        return dict(values=of[str(tree)], mIoU=50.0)

    monkeypatch.setattr(first_steps, "tree_of", Tree)
    monkeypatch.setattr(first_steps, "first_steps", steps)
    monkeypatch.setattr(first_steps, "find_start", lambda run: None)
    assert not first_steps.check(protocol, FIXMATCH), "that of commit b differs"
    found = results.read_all_results("made_up")["another"]
    standing = {seed: results.code_of(one, found) for (*_, seed), one in found.items()}
    is_equal = now == "as then"
    assert [standing[seed] == standing[4] for seed in (1, 2, 3, 5, 6)] == [
        is_equal, is_equal, False, False, False,
    ]  # fmt: skip
    assert found["run", "fixmatch", 1]["code"] == found["run", "fixmatch", 5]["code"]
    codes = results.read_code()
    assert {code: codes[code] for code in standing.values()} == {
        standing[seed]: {NAME: file} for seed, file in ((3, "b"), (4, today[NAME]), (5, "a"))
    }
    # What stands for today's code is not looked at again.
    left = [len(records) for records in first_steps.older_results(protocol, FIXMATCH).values()]
    assert sorted(left) == ([1] if is_equal else [1, 2])


def test_the_code_of_a_commit(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    file = tmp_path / "a.py"
    file.write_text("then\n")
    then = file_hash(file)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "then")
    commit = git("rev-parse", "HEAD")
    file.write_text("now\n")
    monkeypatch.setattr(first_steps, "ROOT", tmp_path)
    with first_steps.tree_of(commit, {"a.py": then}) as tree:
        assert (tree / "a.py").read_text() == "then\n"
    assert not tree.exists() and len(git("worktree", "list").splitlines()) == 1
    for wrong, files in ((commit, {"a.py": file_hash(file)}), ("0" * 40, {})):
        with pytest.raises(TrainingError, match=wrong), first_steps.tree_of(wrong, files):
            pass
    assert len(git("worktree", "list").splitlines()) == 1


def test_values_count_and_names_do_not(tmp_path):
    def save(name: str, **tensors: list) -> Path:
        state = {key: torch.tensor(value) for key, value in tensors.items()}
        torch.save(dict(state_dict=state, meta={}), tmp_path / name)
        return tmp_path / name

    first = first_steps.values_hash(save("a.pth", a=[1.0, 2.0], b=[3.0]))
    assert first == first_steps.values_hash(save("b.pth", x=[3.0], y=[1.0, 2.0]))
    assert first != first_steps.values_hash(save("c.pth", a=[1.0, 2.0], b=[3.5]))


@pytest.mark.slow
def test_the_first_steps_by_another_tree_and_by_this_one(protocol, tmp_path, monkeypatch):
    monkeypatch.setattr(first_steps, "STEPS", 3)
    short = ("train_cfg.max_iters=3", "train_cfg.val_interval=3")
    monkeypatch.setattr(first_steps, "OPTIONS", (*short, *first_steps.OPTIONS[2:]))
    (tmp_path / "tree").symlink_to(ROOT)
    monkeypatch.setitem(PROTOCOLS, "made_up", replace(protocol, rows=(START,)))
    run = make_run(protocol, START, 1)
    here, there = (
        first_steps.first_steps(run, tree, tmp_path / str(number))
        for number, tree in enumerate((ROOT, tmp_path / "tree"))
    )
    assert here == there and (tmp_path / "0" / "report.json").is_file()
    run.options[0] = "randomness.seed=2"
    assert first_steps.first_steps(run, tmp_path / "tree", tmp_path / "2") != here


def test_the_command(protocol):
    add(protocol, 1, file_hash(ROOT / NAME))
    assert first_steps.main(["made_up", "fixmatch"]) == 0, "nothing is older"
    command = [sys.executable, "-m", "runs.first_steps", "nuclei", "fixmtach"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "'fixmtach'" in done.stderr
