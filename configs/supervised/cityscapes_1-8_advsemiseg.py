# Supervised baseline of AdvSemiSeg on Cityscapes 1/8 (371 labelled of 2,975), half resolution,
# DeepLabv2 R101 from MS-COCO weights (backbone only, the classes differ).
#   python tools/train.py configs/supervised/cityscapes_1-8_advsemiseg.py
# Weights: configs/_base_/models/deeplabv2_r101.py says how to convert the file of the released code
# (MS-COCO, Caffe: BGR, mean only).
# The paper's labelled images are not known: these are a seeded draw of the same number.
# One GPU: 2 labelled images of 512 x 1024 (no crop), SGD lr 2.5e-4 (head 2.5e-3), weight decay
# 5e-4, 40,000 iterations, poly 0.9; batch and iterations are the paper's, there is no code for
# Cityscapes. Evaluation: whole image and mask at 512 x 1024, single scale, 500 val images, last
# checkpoint.
# Published: 55.5 mIoU [R], in the paper's first version 52.4 [V].
_base_ = [
    "../_base_/models/deeplabv2_r101.py",
    "../_base_/datasets/advsemiseg_cityscapes.py",
    "../_base_/schedules/deeplabv2.py",
    "../_base_/default_runtime.py",
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    segmentor=dict(decode_head=dict(num_classes=19)),
)
train_dataloader = dict(
    batch_size=2,
    sampler=dict(num_per_source=dict(labeled=2)),
    dataset=dict(split=dict(_delete_=True, type="RatioSplit", ratio=1 / 8, seed=0)),
)
default_hooks = dict(checkpoint=dict(interval=5000))
auto_scale_lr = dict(enable=False, base_batch_size=2)
