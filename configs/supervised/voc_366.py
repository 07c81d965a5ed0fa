# Supervised baseline on 366 of the 1,464 VOC 2012 train images; everything else as voc_92.py.
# The list: --protocol cps_voc_pseudoseg_1of4 --file-labeled pseudoseg_labeled_1-4.txt
_base_ = "./voc_92.py"
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_pseudoseg_1of4")))
