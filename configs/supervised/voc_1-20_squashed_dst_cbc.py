# voc_1-20_dst_cbc.py with height and width drawn on their own, as the table of DST-CBC was made; 530 labelled; 8,978 iterations.
# Published: 62.2 mIoU [R]; mean of three folds.
_base_ = "./voc_1-20_dst_cbc.py"
train_dataloader = dict(
    dataset=dict(crop_size=(321, 321), labeled=dict(pipeline=_base_.squashing_pipeline))
)
