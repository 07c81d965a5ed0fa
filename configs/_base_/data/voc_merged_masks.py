# voc_unimatch.py in the layout of UniMatch, UniMatch V2 and ST++: the merged masks of all 12,031 images lie
# in a folder named SegmentationClass (the official one holds 2,913 masks).
# The lists are those of the devkit (ImageSets/Segmentation); trainaug.txt, and a check of the masks:
#   python tools/dataset_converters/voc_aug.py data/pascal --masks data/pascal/SegmentationClass \
#       --out data/pascal/SegmentationClass
_base_ = "./voc_unimatch.py"
layout = dict(data_root="data/pascal", data_prefix=dict(seg_map_path="SegmentationClass"))
train_dataloader = dict(dataset=dict(labeled=layout))
val_dataloader = dict(dataset=layout)
test_dataloader = val_dataloader
