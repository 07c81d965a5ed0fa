# Supervised baseline on 183 of the 1,464 VOC 2012 train images; everything else as voc_92.py.
# The list: pseudoseg_labeled_1-8.txt of charlesCXK/TorchSemiSeg, to splits/voc/183/labeled.txt.
_base_ = "./voc_92.py"
split = dict(
    labeled="splits/voc/183/labeled.txt",
    labeled_sha256="3b208061a59a42b4954b136dc46b00f263178ebf25ead1164eb3509ab6657ce1",
    origin="pseudoseg_labeled_1-8.txt of charlesCXK/TorchSemiSeg, DATA/pascal_voc/subset_train_aug",
)
train_dataloader = dict(dataset=dict(split=split))
