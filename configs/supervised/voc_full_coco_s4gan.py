# Supervised baseline of s4GAN on all of PASCAL VOC 2012 from MS-COCO weights, 10,582 labelled images; 40,000 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/voc_s4gan.py"
model = dict(data_preprocessor=_base_.coco_input, segmentor=_base_.coco)
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=None, unlabeled=dict(pool="all"), sources=None),
)
