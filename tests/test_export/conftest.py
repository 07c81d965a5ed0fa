# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A checkpoint as a run would leave it."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_teacher  # noqa: F401  (registers ToyTeacherStudent)
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import get_state_dict
from mmseg.registry import MODELS


@pytest.fixture
def make_run(segmentor_config, preprocessor_config, val_config, semi_config, tmp_path):
    """A training config and a checkpoint as a run would leave them, for any method."""

    def make(method: str = "CPS", head: dict | None = None, **model_options) -> tuple[Path, Config]:
        segmentor = copy.deepcopy(segmentor_config)
        if head is not None:
            old = segmentor["decode_head"]
            kept = {key: old[key] for key in ("channels", "num_classes", "norm_cfg", "loss_decode")}
            segmentor["decode_head"] = {**kept, **head}
        segmentor["backbone"]["init_cfg"] = dict(type="Pretrained", checkpoint="absent.pth")
        imports = ["mmsemi", "toy_teacher"] if method.startswith("Toy") else ["mmsemi"]
        loader = dict(batch_size=1, num_workers=0, dataset=copy.deepcopy(val_config))
        loader["sampler"] = dict(type="DefaultSampler", shuffle=False)
        config = Config(
            dict(
                default_scope="mmseg",
                custom_imports=dict(imports=imports, allow_failed_imports=False),
                model=dict(
                    type=method,
                    segmentor=segmentor,
                    data_preprocessor={
                        **preprocessor_config,
                        "test_cfg": dict(size_divisor=8),
                    },
                    **(dict(mix=dict(type="CutMix")) if method == "CPS" else {}),
                    **model_options,
                ),
                train_dataloader=dict(batch_size=6, num_workers=0, dataset=semi_config),
                val_dataloader=loader,
                test_dataloader=loader,
                val_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
                test_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
                test_pipeline=[dict(type="LoadImageFromFile"), dict(type="PackSegInputs")],
                optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1)),
                train_cfg=dict(type="SemiIterBasedTrainLoop", max_iters=9),
                val_cfg=dict(type="TeacherStudentValLoop"),
                test_cfg=dict(type="TestLoop"),
                default_hooks=dict(
                    checkpoint=dict(type="AtomicCheckpointHook"),
                    visualization=dict(type="SegVisualizationHook"),
                ),
            )
        )
        torch.manual_seed(3)
        model = MODELS.build(copy.deepcopy(config.model))
        if model.has_teacher:
            torch.nn.init.normal_(model.teacher.module.decode_head.conv_seg.weight)
        for name, value in model.named_buffers():
            if "running_var" in name:  # statistics that differ from network to network
                value.uniform_(0.5, 2)
        dataset_meta = dict(
            classes=val_config["metainfo"]["classes"],
            palette=np.array(val_config["metainfo"]["palette"]),
            label_map=None,
        )
        path = tmp_path / "iter_7.pth"
        torch.save(
            dict(
                meta=dict(cfg=config.pretty_text, iter=7, epoch=0, dataset_meta=dataset_meta),
                state_dict=get_state_dict(model),
                optimizer=dict(state={}, param_groups=[]),
                message_hub=dict(log_scalars=dict(loss=HistoryBuffer([np.float64(1)], [1]))),
                random_states=dict(ranks=[]),
            ),
            path,
        )
        config.dump(tmp_path / "semi.py")
        return path, config

    return make
