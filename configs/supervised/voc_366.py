# Supervised baseline on 366 of the 1,464 VOC 2012 train images; everything else as voc_92.py.
# The list: pseudoseg_labeled_1-4.txt of charlesCXK/TorchSemiSeg, to splits/voc/366/labeled.txt.
_base_ = "./voc_92.py"
split = dict(
    labeled="splits/voc/366/labeled.txt",
    labeled_sha256="ea8aa0b2ceedf56b536241b16b57fadfd9c0c8301bd93f7c9b7ad6df2ffc4c26",
    origin="pseudoseg_labeled_1-4.txt of charlesCXK/TorchSemiSeg, DATA/pascal_voc/subset_train_aug",
)
train_dataloader = dict(dataset=dict(split=split))
