# Labelled-only baseline of UniMatch V2 on PASCAL VOC 2012, 183 labelled, DINOv2-S; 60 x 650 = 39,000 iterations.
# Published: none of this length; fewer iterations of twice the batch: 75.6, DINOv2-B 82.1 (logs of the released code).
_base_ = "../_base_/data/voc_unimatch_v2.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(name="classic_voc_183"))
)
train_cfg = dict(max_iters=39000)
