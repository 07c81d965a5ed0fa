# Second of three: the generator of shapes_plateau_baseline.py, exported, against a discriminator, still on all masks (docs/adversarial_walkthrough.md).
_base_ = ["../_base_/data/shapes_plateau.py", "../_base_/methods/advsemiseg.py"]
weights = "work_dirs/advsemiseg/shapes_plateau_baseline/export/weights.pth"
pretrained = dict(type="Pretrained", checkpoint=weights)
model = dict(_base_.walkthrough, segmentor=dict(init_cfg=pretrained))
optim_wrapper = dict(_base_.optimizers, optimizer=dict(lr=0.003))  # half of the baseline's
train_dataloader = dict(sampler=dict(num_per_source=dict(unlabeled=0)))
