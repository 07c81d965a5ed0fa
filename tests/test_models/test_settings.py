# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Settings of methods: types, ranges, choices, unknown names, and all methods' own."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import get_type_hints

import pytest
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmsemi.errors import ConfigError
from mmsemi.models.semi_model import SemiModel
from mmsemi.models.settings import MethodSettings, MixSettings, ViewSettings, setting

METHODS = {
    name: kind
    for name, kind in MODELS.module_dict.items()
    if isinstance(kind, type) and issubclass(kind, SemiModel) and "mmsemi" in kind.__module__
}


@dataclass(frozen=True)
class ToySettings(MixSettings):
    share: float = setting(0.5, "a share", low=0, high=1)
    count: int = setting(2, "a count", low=1)
    shift: float = setting(0.0, "any number")
    least: float | None = setting(None, "a bound, or none", low=-1)
    on: bool = setting(True, "a switch")
    kind: str = setting("a", "a kind", choices=("a", "b"))
    level: int | str = setting(0, "a number or a name")


def test_legal_values_are_kept_as_they_are():
    mix = ConfigDict(type="CutMix")
    values = dict(share=1, count=3, shift=-7, least=-1.0, on=False, kind="b", level="top", mix=mix)
    settings = ToySettings.read("Toy", values)
    assert {name: getattr(settings, name) for name in values} == values
    assert settings.mix is mix and settings.strong is None and settings.predict_on is None
    assert ToySettings.read("Toy", {}) == ToySettings()


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ToySettings().share = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", 1.01),
        ("share", -0.01),
        ("share", math.nan),
        ("share", "0.5"),
        ("share", True),
        ("share", None),
        ("count", 0),
        ("count", 2.0),
        ("count", True),
        ("shift", math.inf),
        ("shift", math.nan),
        ("least", -1.5),
        ("least", "none"),
        ("on", 1),
        ("on", "False"),
        ("kind", "c"),
        ("kind", None),
        ("level", 1.5),
        ("level", None),
        ("mix", "CutMix"),
        ("strong", ["StrongPhotometric"]),
        ("predict_on", 1.5),
    ],
)
def test_other_values_are_refused_by_name(name, value):
    with pytest.raises(ConfigError) as error:
        ToySettings.read("Toy", {name: value})
    assert str(error.value).startswith(f"Toy.{name}={value!r} "), error.value
    assert "\n" not in str(error.value)


def test_the_legal_values_are_named():
    for value, legal in (
        (dict(share=2), ["[0, 1]"]),
        (dict(count=0), ["at least 1"]),
        (dict(kind="c"), ["'a'", "'b'"]),
        (dict(level=1.5), ["whole number", "text"]),
        (dict(mix="CutMix"), ["config", "None"]),
    ):
        with pytest.raises(ConfigError) as error:
            ToySettings.read("Toy", value)
        assert all(part in str(error.value) for part in legal), error.value


@pytest.mark.parametrize(("name", "close"), [("shaer", "'share'"), ("counts", "'count'")])
def test_unknown_names_come_with_those_that_resemble_them(name, close):
    with pytest.raises(ConfigError, match=f"Toy .*'{name}'.*did you mean {close}"):
        ToySettings.read("Toy", {name: 1})


def test_a_name_that_resembles_nothing_comes_with_all():
    with pytest.raises(ConfigError) as error:
        ToySettings.read("Toy", dict(xyzzy=1))
    assert "did you mean" not in str(error.value)
    assert all(item.name in str(error.value) for item in dataclasses.fields(ToySettings))


def test_a_value_that_nothing_reads_is_refused():
    settings = ToySettings(count=3, on=False)
    settings.refuse_unused("share", "shift", reason="the defaults are no mistake")
    with pytest.raises(ConfigError, match=r"Toy\.count=3: .*because"):
        settings.refuse_unused("share", "count", reason="because")


def test_a_refused_value_names_setting_and_reason():
    with pytest.raises(ConfigError, match=r"Toy\.kind='a': why"):
        ToySettings().refuse("kind", "why")


# --- All methods ----------------------------------------------------------------------------------


def test_there_are_all_methods():
    expected = {"Supervised", "MeanTeacher", "CutMixMeanTeacher", "FixMatch", "UniMatch", "CPS"}
    assert METHODS.keys() >= expected | {"AdvSemiSeg", "S4GAN", "MLMTClassifier"}


@pytest.mark.parametrize("method", METHODS)
def test_each_setting_of_a_method_says_what_it_is(method):
    """The tables of the READMEs are made of them."""
    settings = METHODS[method].Settings
    assert settings.__name__ == f"{method}Settings"
    hints = get_type_hints(settings)
    for item in dataclasses.fields(settings):
        rule = item.metadata
        assert rule["doc"] and rule["doc"] == rule["doc"].strip(), item.name
        assert "\n" not in rule["doc"] and not rule["doc"].endswith("."), item.name
        assert hints[item.name] is not None
        assert not rule["choices"] or item.default in rule["choices"], item.name
        is_number = isinstance(item.default, (int, float)) and not isinstance(item.default, bool)
        assert not is_number or rule["low"] <= item.default <= rule["high"], item.name


@pytest.mark.parametrize("method", METHODS)
def test_each_default_passes_its_own_check(method):
    settings = METHODS[method].Settings
    known = {item.name for item in dataclasses.fields(settings)}
    required = dict(epoch_iters=2) if "epoch_iters" in known else {}
    if "num_views" in known:  # two views need something that makes them different
        required["mix"] = dict(type="CutMix")
    assert isinstance(settings.read(method, required), MethodSettings)


def test_who_has_views_and_who_mixes():
    """A method takes a view or a mix if and only if its step draws one."""
    views = {name for name, kind in METHODS.items() if issubclass(kind.Settings, ViewSettings)}
    mixes = {name for name, kind in METHODS.items() if issubclass(kind.Settings, MixSettings)}
    names = {"AdvSemiSeg", "S4GAN", "MLMTClassifier"}
    assert "Supervised" not in views and names <= views - mixes
    assert mixes >= {"MeanTeacher", "CutMixMeanTeacher", "FixMatch", "UniMatch", "CPS"}


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(method: str = "FixMatch", preprocessor: dict | None = None, **settings):
        preprocessor = {**preprocessor_config, **(preprocessor or {})}
        networks = dict(segmentor=segmentor_config, data_preprocessor=preprocessor)
        return MODELS.build(dict(type=method, **networks, **settings))

    return make


@pytest.mark.parametrize("method", ["FixMatch", "CPS", "Supervised"])
@pytest.mark.parametrize("place", ["semi_train_cfg", "semi_test_cfg"])
def test_a_setting_inside_another_dictionary_is_refused(build, method, place):
    with pytest.raises(ConfigError, match=f"{method} .*'{place}'"):
        build(method, **{place: dict(unsup_weight=1.0)})


@pytest.mark.parametrize("name", ["strong", "mix", "num_student_views"])
def test_a_view_in_the_preprocessor_is_refused(build, name):
    with pytest.raises(ConfigError, match=f"data_preprocessor .*'{name}'"):
        build(preprocessor={name: dict(type="CutMix")})


def test_a_method_reads_its_settings_and_builds_its_views(build):
    model = build(
        threshold=0.8,
        predict_on="student",
        strong=dict(type="StrongPhotometric"),
        mix=dict(type="CutMix"),
    )
    assert model.settings.threshold == 0.8 and model.settings.momentum == 0.004
    assert model.predict_on == "student" and build().predict_on == "teacher"
    assert type(model.strong).__name__ == "StrongPhotometric"
    assert type(model.mix).__name__ == "CutMix" and build().mix is build().strong is None


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("FixMatch", dict(labels_from="student", momentum=0.1)),
        ("FixMatch", dict(labels_from="student", ema_warmup=False)),
        ("FixMatch", dict(pasted_mode="train")),
        ("FixMatch", dict(threshold=2)),
        ("CPS", dict(predict_on=2)),
        ("CPS", dict(predict_on="student")),
        ("Supervised", dict(predict_on="teacher")),
        ("MeanTeacher", dict(consistency="l1")),
    ],
)
def test_values_that_a_method_cannot_use_are_refused(build, method, settings):
    name, value = list(settings.items())[-1]
    with pytest.raises(ConfigError, match=rf"^{method}\.{name}={value!r}"):
        build(method, **settings)
