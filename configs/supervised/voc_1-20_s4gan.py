# Supervised baseline of s4GAN on PASCAL VOC 2012 train_aug 1/20 (529 labelled, split 0); all but
# the labels as voc_1-8_s4gan.py, whose header says more (list, net, batch, lr, 40,000 iterations,
# evaluation).
#   python tools/splits.py import --protocol s4gan_voc_1of20 --file-labeled split_0.pkl
# Published: 56.8 mIoU [R] (mean of 3 splits, batch 10).
_base_ = "./voc_1-8_s4gan.py"
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of20")))
