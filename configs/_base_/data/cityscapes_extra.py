# cityscapes_cps.py with all 2,975 finely annotated training images labelled and the 19,998 images of
# train_extra unlabelled. Their coarse masks are not read.
# Layout: data/cityscapes/leftImg8bit/train_extra/<city>/. The list train_extra.txt is written by
# tools/dataset_converters/cityscapes.py; it leaves out a damaged image.
_base_ = "./cityscapes_cps.py"
train_dataloader = dict(
    dataset=dict(
        split=None,
        unlabeled=dict(
            data_root="data/cityscapes",
            img_dir="leftImg8bit/train_extra",
            ann_file="train_extra.txt",
        ),
    )
)
