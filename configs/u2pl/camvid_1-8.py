# U2PL on CamVid, 45 labelled + 322 unlabelled images; 4,000 iterations, settings are ours. Ramped up over half of the run, since the net starts from random weights.
_base_ = ["../_base_/data/camvid.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, rampup_iters=2000, percent_iters=40)
