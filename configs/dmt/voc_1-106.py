# DMT on PASCAL VOC 2012 1/106, 100 labelled + 10,482 unlabelled images; 5 rounds of 4 x 1,498 = 5,992 iterations for each
# of two models, which differ by the labels of their baselines.
# Published: 63.04 mIoU [R].
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.method
train_dataloader = dict(
    _base_.batch, dataset=dict(_base_.stored, split=dict(name="dstcbc_voc_1of106"))
)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_iters=5992, num_validations=12)
left = {"train_dataloader.dataset.split.name": "dmt_voc_1of106_left", "train_cfg.max_iters": 3000}
right = dict(left, **{"train_dataloader.dataset.split.name": "dmt_voc_1of106_right"})
baseline = dict(config="supervised/voc_1-106_dst_cbc", options=left)
self_training = dict(baseline=baseline, second=dict(baseline=dict(baseline, options=right)))
