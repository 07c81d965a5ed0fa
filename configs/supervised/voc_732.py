# Supervised baseline on 732 of the 1,464 VOC 2012 train images; everything else as voc_92.py.
# The list: --protocol cps_voc_pseudoseg_1of2 --file-labeled pseudoseg_labeled_1-2.txt
_base_ = "./voc_92.py"
train_dataloader = dict(dataset=dict(split=dict(name="cps_voc_pseudoseg_1of2")))
