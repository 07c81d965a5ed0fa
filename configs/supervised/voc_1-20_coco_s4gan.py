# Supervised baseline of s4GAN on PASCAL VOC 2012 1/20 (split 0) from MS-COCO weights, 529 labelled images; 40,000 iterations.
# Published: none is at hand.
_base_ = "../_base_/data/voc_s4gan.py"
model = dict(data_preprocessor=_base_.coco_input, segmentor=_base_.coco)
train_dataloader = dict(
    sampler=dict(num_per_source=dict(unlabeled=0, gt=0)),
    dataset=dict(split=dict(name="s4gan_voc_1of20"), sources=None),
)
