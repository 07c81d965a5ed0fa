# DMT on PASCAL VOC 2012 1/50, 211 labelled + 10,371 unlabelled images; 5 rounds of 4 x 1,482 = 5,928 iterations for each
# of two models, which differ by the labels of their baselines.
# Published: 67.15 mIoU [R].
_base_ = ["../_base_/data/voc_dst_cbc.py", "../_base_/methods/dmt.py"]
model = _base_.method
train_dataloader = dict(
    _base_.batch, dataset=dict(_base_.stored, split=dict(name="dstcbc_voc_1of50"))
)
optim_wrapper = dict(optimizer=dict(lr=0.001))
train_cfg = dict(max_iters=5928, num_validations=12)
left = {"train_dataloader.dataset.split.name": "dmt_voc_1of50_left", "train_cfg.max_iters": 4452}
right = dict(left, **{"train_dataloader.dataset.split.name": "dmt_voc_1of50_right"})
baseline = dict(config="supervised/voc_1-50_dst_cbc", options=left)
self_training = dict(baseline=baseline, second=dict(baseline=dict(baseline, options=right)))
