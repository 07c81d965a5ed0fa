# FixMatch (the student labels) on PASCAL VOC 2012, 92 labelled + 10,490 unlabelled images; 80 x 1,311 = 104,880 iterations.
# Published: none of this net is in the sources that we know.
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/fixmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_92")))
train_cfg = dict(max_iters=104880)
