# The same net, its predictions scored against the masks at full resolution, as mmseg does:
#   python tools/test.py configs/advsemiseg/cityscapes_full-resolution.py CKPT
# for a checkpoint of any cityscapes_1-*.py with DeepLabv2, or of cityscapes_full.py.
_base_ = "./cityscapes_1-8.py"
test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
