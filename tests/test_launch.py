# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a wrong entry of a config is answered with, instead of a traceback from the registry."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mmseg.registry import DATASETS, MODELS, TASK_UTILS

from mmsemi import launch
from mmsemi.launch import find_deliberate_message


def message_of(registry, config: dict) -> str | None:
    with pytest.raises(Exception) as caught:
        registry.build(config)
    return find_deliberate_message(caught.value)


@pytest.mark.parametrize(
    ("registry", "config", "expected"),
    [
        (
            TASK_UTILS,
            dict(type="RatioSplit", ratoi=0.5),
            "the config gives RatioSplit the unknown key 'ratoi'; did you mean 'ratio'?",
        ),
        (
            TASK_UTILS,
            dict(type="RatoSplit", ratio=0.5),
            "the config has type='RatoSplit', which nothing registers; did you mean 'RatioSplit'",
        ),
        (TASK_UTILS, dict(type="RatioSplit"), "the config lacks 'ratio' of RatioSplit"),
        (MODELS, dict(ratio=1), "an entry of the config has no type: {'ratio': 1}"),
        # Passed on by **kwargs to a base class.
        (
            DATASETS,
            dict(type="ShapesDataset", data_rot="x"),
            "the config gives ShapesDataset the unknown key 'data_rot'; did you mean 'data_root'",
        ),
        (
            MODELS,
            dict(type="CutMix", num_box=2),
            "the config gives CutMix the unknown key 'num_box'; did you mean 'num_boxes'?",
        ),
    ],
)
def test_a_wrong_entry_is_one_line(registry, config, expected):
    message = message_of(registry, config)
    assert message is not None and message.startswith(expected)


def test_a_fault_inside_a_class_keeps_its_traceback():
    @TASK_UTILS.register_module(name="_Faulty", force=True)
    class Faulty:
        def __init__(self) -> None:
            self.prepare()

        def prepare(self) -> None:
            dict(a=1).update_all(b=2)

    assert message_of(TASK_UTILS, dict(type="_Faulty")) is None


@pytest.mark.parametrize("code", [0, 1])
def test_one_of_several_processes_ends_without_the_teardown(tmp_path, code):
    """Python's exit functions run; objects with threads of their own are not destroyed."""
    program = f"""
import atexit, torch.distributed as dist
from mmsemi import launch
class Destroyed:
    def __del__(self):
        print("destroyed")
kept = Destroyed()
atexit.register(print, "at exit")
dist.init_process_group("gloo", init_method="file://{tmp_path}/store", rank=0, world_size=1)
launch.exit_tool({code})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "at exit\n"), done.stderr


def test_a_single_process_ends_as_usual():
    with pytest.raises(SystemExit, match="2"):
        launch.exit_tool(2)
