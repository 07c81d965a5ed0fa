# Supervised baseline of s4GAN on Cityscapes 1/10 (297 labelled of 2,975), half resolution,
# DeepLabv3+ with Wide ResNet-38, crop 256 x 512.
#   python tools/train.py configs/supervised/cityscapes_1-10_wrn38_s4gan.py
# Weights: configs/_base_/models/deeplabv3plus_wrn38.py says how to convert them. The labelled
# images are a seeded draw of the published number.
# One GPU: 8 labelled images, SGD lr 1e-3 (all but the trunk 1e-2), weight decay 5e-4, 40,000
# iterations, poly 0.9. Evaluation: whole image and mask at 512 x 1024, single scale, 500 val
# images, last checkpoint.
# No number is published for this net.
_base_ = [
    "../_base_/models/deeplabv3plus_wrn38.py",
    "../_base_/datasets/s4gan_cityscapes.py",
    "../_base_/schedules/deeplabv2.py",
    "../_base_/default_runtime.py",
]
model = dict(data_preprocessor=dict(size=_base_.crop_size))
train_dataloader = dict(
    batch_size=8,
    sampler=dict(num_per_source=dict(labeled=8)),
    dataset=dict(split=dict(_delete_=True, type="RatioSplit", ratio=0.1, seed=0)),
)
# Weight decay on everything that is trained.
optim_wrapper = dict(optimizer=dict(lr=1e-3))
default_hooks = dict(checkpoint=dict(interval=5000))
auto_scale_lr = dict(enable=False, base_batch_size=8)
