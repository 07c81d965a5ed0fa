# UniMatch V1 on PASCAL VOC 2012, 732 labelled + 9,850 unlabelled images; 80 x 1,231 = 98,480 iterations.
# Published: 79.9 mIoU (README of the released code); mean of its three logged runs 79.9; R50 77.4 (logs).
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/unimatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_732")))
train_cfg = dict(max_iters=98480)
