# context_s4gan.py with the 59 classes without background, which is ignored: PascalContextDataset59 reads the
# same masks and moves the classes 1..59 to 0..58 (reduce_zero_label).
_base_ = "./context_s4gan.py"
train_dataloader = dict(dataset=dict(labeled=dict(type="PascalContextDataset59")))
val_dataloader = dict(dataset=dict(type="PascalContextDataset59"))
test_dataloader = val_dataloader
model = dict(segmentor=dict(decode_head=dict(num_classes=59)))
