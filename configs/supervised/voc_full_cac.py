# Supervised baseline of CAC on PASCAL VOC 2012, all 10,582 images labelled; 80 x 1,157 = 92,560 iterations.
# Published: 76.3 mIoU [R]; R101 77.7 [R].
_base_ = "../_base_/data/voc_cac.py"
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0)),
    dataset=dict(split=None, unlabeled=dict(pool="all")),
)
