# Cityscapes, 19 classes: all 2,975 finely annotated training images labelled, the 19,998 images of
# train_extra unlabelled. Their coarse masks are not read.
# Layout: cityscapes.py, and data/cityscapes/leftImg8bit/train_extra/<city>/. The list train_extra.txt
# is written by tools/dataset_converters/cityscapes.py; it leaves out a damaged image.
_base_ = "./cityscapes.py"
data_root = "data/cityscapes"

train_dataloader = dict(
    dataset=dict(
        split=None,
        unlabeled=dict(
            pool=None,
            data_root=data_root,
            img_dir="leftImg8bit/train_extra",
            ann_file="train_extra.txt",
        ),
    )
)
