# The same net, its predictions scored against the masks at full resolution, as mmseg does:
#   python tools/test.py configs/s4gan/cityscapes_full-resolution.py CKPT
# for a checkpoint of cityscapes_1-8.py or cityscapes_1-4.py.
_base_ = "./cityscapes_1-8.py"
test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
