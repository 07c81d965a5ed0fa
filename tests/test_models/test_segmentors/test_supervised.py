# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The baseline: what every method must do, and its step against the reference step."""

from __future__ import annotations

import copy

import pytest
from method_tester import MethodTester
from recorded import check_step, gradients, make_method, make_recorded, total
from reference.supervised import supervised_step

from mmsemi.errors import ConfigError


class TestSupervised(MethodTester):
    name = "supervised"
    labels_images = False
    test_views_can_leave_the_statistics_alone = None  # it has no other views
    model = dict(type="Supervised")
    golden_std = 0.01  # mmseg's own


@pytest.fixture
def build(segmentor_config, preprocessor_config):
    def make(**settings):
        return make_method(segmentor_config, preprocessor_config, type="Supervised", **settings)

    return make


@pytest.mark.parametrize("unlabeled", [True, False])
@pytest.mark.parametrize("auxiliary", [True, False])
def test_the_step_is_the_reference_step(build, segmentor_config, unlabeled, auxiliary):
    """Unlabelled images in the batch touch nothing, not even batch-norm statistics."""
    if auxiliary:
        head = copy.deepcopy(segmentor_config["decode_head"])
        segmentor_config["auxiliary_head"] = {
            **head,
            **dict(in_channels=4, in_index=0, dropout_ratio=0),
            "loss_decode": dict(type="PixelCrossEntropy", loss_weight=0.4),
        }
    runner = build()
    reference, recorded = copy.deepcopy(runner.model), make_recorded()
    labeled = recorded.batch.labeled
    recorded.views = [labeled.pixels_NCHW]
    if not unlabeled:
        recorded.batch.unlabeled = None
    expected = supervised_step(reference.student, labeled.pixels_NCHW, labeled.labels_NHW)
    losses = check_step(runner, recorded, expected, reference)
    assert all(key.startswith("sup.") for key in losses)
    assert ("sup.aux.loss_ce" in losses) == auxiliary
    assert runner.model.student.backbone.bn1.num_batches_tracked == 1


def test_labels_that_are_all_ignored(build):
    recorded, runner = make_recorded(), build()
    recorded.views = [recorded.batch.labeled.pixels_NCHW]
    recorded.batch.labeled.labels_NHW.fill_(255)
    losses = recorded.loss(runner.model)
    assert losses["sup.decode.loss_ce"] == 0
    total(losses).backward()
    found = gradients(runner.model)
    assert len(found) == len(list(runner.model.parameters()))
    assert all((gradient == 0).all() for gradient in found.values())


def test_a_strong_view_takes_the_place_of_the_labelled_images(build):
    recorded, runner = make_recorded(), build(strong=dict(type="StrongPhotometric"))
    reference, labeled = copy.deepcopy(runner.model), recorded.batch.labeled
    recorded.views = [labeled.pixels_NCHW + 0.5]
    expected = supervised_step(reference.student, recorded.views[0], labeled.labels_NHW)
    check_step(runner, recorded, expected, reference)


@pytest.mark.parametrize("name", ["mix", "num_views", "semi_train_cfg"])
def test_it_has_no_settings_of_mixed_views(build, name):
    with pytest.raises(ConfigError, match=f"Supervised .*'{name}'"):
        build(**{name: {}})
