# U2PL on the built-in set. 1,200 iterations from random weights: a lower weight of the pseudo-labels, a ramp-up over all iterations, and a
# teacher that follows faster. A forward that labelled images share with the mixed views costs 8 points here (docs/results/builtin.md);
# features of 64 channels suit the narrow net.
_base_ = ["../_base_/data/shapes.py", "../_base_/methods/u2pl.py"]
model = dict(
    _base_.method, unsup_weight=0.3, rampup_iters=1200, labeled_forward="alone", momentum=0.02
)
model.update(percent_iters=28, representation_channels=64, num_anchors=64, bank_size=3000)
model.update(first_bank_size=5000)
