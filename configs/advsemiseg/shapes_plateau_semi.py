# Third of three: a generator pre-trained on 1/8 of the masks, and the other images without (docs/adversarial_walkthrough.md).
_base_ = ["../_base_/data/shapes_plateau.py", "../_base_/methods/advsemiseg.py"]
weights = "work_dirs/advsemiseg/shapes_plateau_baseline_1-8/export/weights.pth"
pretrained = dict(type="Pretrained", checkpoint=weights)
model = dict(_base_.walkthrough, segmentor=dict(init_cfg=pretrained))
optim_wrapper = dict(_base_.optimizers, optimizer=dict(lr=0.003))  # half of the baseline's
train_dataloader = dict(dataset=dict(split=dict(ratio=1 / 8)))
