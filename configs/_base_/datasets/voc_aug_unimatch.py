# PASCAL VOC 2012, train_aug, in the layout of UniMatch, UniMatch V2 and ST++: the merged masks of all
# 12,031 images lie in a folder named SegmentationClass (the official one holds 2,913 masks).
# The lists are those of the devkit (ImageSets/Segmentation); trainaug.txt, and a check of the masks:
#   python tools/dataset_converters/voc_aug.py data/pascal --masks data/pascal/SegmentationClass \
#       --out data/pascal/SegmentationClass
_base_ = "./voc_aug.py"
data_root = "data/pascal"

masks = "SegmentationClass"
train_dataloader = dict(
    dataset=dict(labeled=dict(data_root=data_root, data_prefix=dict(seg_map_path=masks)))
)
val_dataloader = dict(dataset=dict(data_root=data_root, data_prefix=dict(seg_map_path=masks)))
test_dataloader = val_dataloader
