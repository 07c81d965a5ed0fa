# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Which exceptions are a user's mistake, wherever they come from."""

from __future__ import annotations

import pytest
from mmseg.registry import DATASETS, MODELS, TASK_UTILS
from torch.utils.data import DataLoader, Dataset

from mmsemi.errors import CheckpointError, ConfigError, DataError, UserError, user_error


def caught(function, *args) -> BaseException:
    with pytest.raises(Exception) as error:
        function(*args)
    return error.value


# --- The chain of causes --------------------------------------------------------------------------


def fail(error: Exception, wrapper: Exception | None = None) -> None:
    try:
        raise error
    except Exception as inner:
        if wrapper is None:
            raise
        raise wrapper from inner


@pytest.mark.parametrize("kind", [UserError, ConfigError, DataError, CheckpointError])
def test_a_mistake_is_found_alone_and_below_other_errors(kind):
    mistake = kind("a.png")
    assert user_error(caught(fail, mistake)) is mistake
    assert user_error(caught(fail, mistake, TypeError("class `CPS`"))) is mistake


def test_the_outermost_mistake_counts_as_it_says_most():
    outer = DataError("the labelled set: a.png")
    assert user_error(caught(fail, ConfigError("a.png"), outer)) is outer


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), AssertionError("x"), OSError(2)])
def test_a_fault_of_the_program_is_none(error):
    assert user_error(caught(fail, error)) is None


def test_a_fault_that_hides_a_mistake_on_purpose_is_none():
    def hide() -> None:
        try:
            raise ConfigError("x")
        except ConfigError:
            raise ValueError("y") from None

    assert user_error(caught(hide)) is None


# --- Loader workers -------------------------------------------------------------------------------


class Faulty(Dataset):
    def __init__(self, error: Exception, wrapper: Exception | None = None) -> None:
        self.error, self.wrapper = error, wrapper

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        fail(self.error, self.wrapper)


def read(error: Exception, wrapper: Exception | None = None) -> UserError | None:
    loader = DataLoader(Faulty(error, wrapper), num_workers=1)
    return user_error(caught(lambda: next(iter(loader))))


def test_a_mistake_that_a_worker_met_keeps_its_kind_and_text():
    found = read(OSError("truncated"), DataError("image 'a.png' cannot be used: 7 px"))
    assert type(found) is DataError and str(found) == "image 'a.png' cannot be used: 7 px"
    found = read(DataError("b.png"), RuntimeError("in the pipeline"))
    assert type(found) is DataError and str(found) == "b.png"
    assert read(ValueError("a bug")) is None


# --- Entries of a config --------------------------------------------------------------------------


def build(registry, config: dict) -> UserError | None:
    return user_error(caught(registry.build, config))


@pytest.mark.parametrize(
    ("registry", "config", "names"),
    [
        (TASK_UTILS, dict(type="RatioSplit", ratoi=0.5), ("RatioSplit", "'ratoi'", "'ratio'")),
        (TASK_UTILS, dict(type="RatoSplit", ratio=0.5), ("'RatoSplit'", "'RatioSplit'")),
        (TASK_UTILS, dict(type="RatioSplit"), ("RatioSplit", "'ratio'")),
        (MODELS, dict(ratio=1), ("{'ratio': 1}",)),
        # Passed on by **kwargs to a base class.
        (DATASETS, dict(type="ShapesDataset", data_rot="x"), ("'data_rot'", "'data_root'")),
        (MODELS, dict(type="CutMix", num_box=2), ("CutMix", "'num_box'", "'num_boxes'")),
    ],
)
def test_an_entry_that_cannot_be_built_is_a_mistake_in_the_config(registry, config, names):
    found = build(registry, config)
    assert type(found) is ConfigError
    assert all(name in str(found) for name in names), found


def test_a_fault_inside_a_class_is_none():
    @TASK_UTILS.register_module(name="_Faulty", force=True)
    class Faulty:
        def __init__(self) -> None:
            self.prepare()

        def prepare(self) -> None:
            dict(a=1).update_all(b=2)

    assert build(TASK_UTILS, dict(type="_Faulty")) is None
