# U2PL on CamVid at the size for a CPU, 45 labelled + 322 unlabelled images; 500 iterations, settings are ours. Ramped up over half of the run, since the net starts from random weights.
_base_ = ["../_base_/data/camvid_small.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, rampup_iters=250, momentum=0.02, representation_channels=64)
