# Supervised baseline on 732 of the 1,464 VOC 2012 train images; everything else as voc_92.py.
# The list: pseudoseg_labeled_1-2.txt of charlesCXK/TorchSemiSeg, to splits/voc/732/labeled.txt.
_base_ = "./voc_92.py"
split = dict(
    labeled="splits/voc/732/labeled.txt",
    labeled_sha256="80cc40b7c0ab6fe4942149cbd58f24dbf6bf028b5556aa154de2098fa692d068",
    origin="pseudoseg_labeled_1-2.txt of charlesCXK/TorchSemiSeg, DATA/pascal_voc/subset_train_aug",
)
train_dataloader = dict(dataset=dict(split=split))
