# FixMatch (the student labels) on PASCAL VOC 2012, 732 labelled + 9,850 unlabelled images; 80 x 1,231 = 98,480 iterations.
# Published: none of this net is in the sources that we know.
_base_ = ["../_base_/data/voc_unimatch.py", "../_base_/methods/fixmatch.py"]
model = _base_.released
train_dataloader = dict(dataset=dict(split=dict(name="classic_voc_732")))
train_cfg = dict(max_iters=98480)
