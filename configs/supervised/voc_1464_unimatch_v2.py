# Labelled-only baseline of UniMatch V2 on PASCAL VOC 2012, 1,464 labelled, DINOv2-S; 60 x 570 = 34,200 iterations.
# Published: none of this length; fewer iterations of twice the batch: 85.6, DINOv2-B 88.3 (logs of the released code).
_base_ = "../_base_/data/voc_unimatch_v2.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=dict(name="classic_voc_1464")),
)
train_cfg = dict(max_iters=34200)
