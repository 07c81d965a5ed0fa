# s4GAN on PASCAL VOC 2012 train_aug 1/20 (529 labelled, 10,053 unlabelled, split 0); all but the
# labels as voc_1-8.py, whose header says more (batch 8 + 8 + 8, lr, 40,000 iterations, evaluation).
#   python tools/splits.py import --protocol s4gan_voc_1of20 --file-labeled split_0.pkl
# Published with MLMT (voc_1-20_fused.py): 62.9 mIoU [R]; s4GAN alone is not at hand.
_base_ = "./voc_1-8.py"
train_dataloader = dict(dataset=dict(split=dict(name="s4gan_voc_1of20")))
