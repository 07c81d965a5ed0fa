# s4GAN on PASCAL VOC 2012 train_aug 1/8 (1,322 labelled) with about the learning rates that the
# released code has in effect, see configs/advsemiseg/voc_1-8_legacy-lr.py. Batch 8 + 8 + 8, 40,000
# iterations; the rest as voc_1-8.py.
# Published numbers are those of voc_1-8.py; say which of the two a result used.
_base_ = "./voc_1-8.py"
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "backbone": dict(lr_mult=3),
            "downsample": dict(lr_mult=4),  # the shortcuts
            "backbone.conv1": dict(lr_mult=1),
        }
    )
)
