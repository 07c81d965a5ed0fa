# AdvSemiSeg on PASCAL VOC 2012 1/8, 1,322 labelled images, without the unlabelled ones: the adversarial loss alone; 20,000 iterations.
# Published: 67.6 mIoU [V].
_base_ = ["../_base_/data/voc_advsemiseg.py", "../_base_/methods/advsemiseg.py"]
model = _base_.method
optim_wrapper = _base_.optimizers
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)), dataset=dict(split=dict(ratio=1 / 8))
)
