# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A training config for two processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

DEFAULT_RUNTIME = Path(__file__).resolve().parents[2] / "configs/_base_/default_runtime.py"


@pytest.fixture
def training_config(semi_config, val_config, segmentor_config, preprocessor_config) -> Config:
    """CPS+CutMix as users train it on GPUs: SyncBN, nccl, dropout, another seed on each rank."""
    norm = dict(type="SyncBN", requires_grad=True)
    segmentor_config["backbone"]["norm_cfg"] = norm
    segmentor_config["decode_head"]["norm_cfg"] = norm
    config = Config(Config.fromfile(DEFAULT_RUNTIME).to_dict())
    val_loader = dict(
        batch_size=1,
        num_workers=0,
        persistent_workers=False,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=val_config,
    )
    config.merge_from_dict(
        dict(
            randomness=dict(seed=0, diff_rank_seed=True),
            model=dict(
                type="CPS",
                segmentor=segmentor_config,
                data_preprocessor=preprocessor_config,
                mix=dict(type="CutMix"),
            ),
            train_dataloader=dict(
                batch_size=6,
                num_workers=0,
                persistent_workers=False,
                sampler=dict(
                    type="MultiSourceSampler", num_per_source=dict(labeled=2, unlabeled=4)
                ),
                dataset=semi_config,
            ),
            val_dataloader=val_loader,
            test_dataloader=val_loader,
            val_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
            test_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
            optim_wrapper=dict(
                type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9)
            ),
            train_cfg=dict(type="SemiIterBasedTrainLoop", max_iters=4, val_interval=2),
            val_cfg=dict(type="TeacherStudentValLoop"),
            test_cfg=dict(type="TestLoop"),
            default_hooks=dict(
                checkpoint=dict(interval=2, max_keep_ckpts=9), logger=dict(interval=1)
            ),
        )
    )
    config.vis_backends = [dict(type="LocalVisBackend")]
    config.visualizer.vis_backends = config.vis_backends
    return config
