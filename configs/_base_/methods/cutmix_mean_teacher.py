# CutMix mean teacher (French et al., BMVC 2020): one box of half the area, the teacher predicts. The loader
# draws twice as many unlabelled images as there are mixed ones.
method = dict(type="CutMixMeanTeacher", mix=dict(type="CutMix", num_boxes=1, area_range=(0.5, 0.5)))
# An approximation of the CutMix-Seg rows in the CPS tables, of which neither code nor weights are published:
# mask and loss of French et al., with their weight 1, which belongs to another optimiser; the average of
# mean_teacher.py.
cps_protocol = dict(method, buffers="keep", ema_when="mid")
