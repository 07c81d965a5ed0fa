# CPS (Chen et al., CVPR 2021): two networks, network 0 predicts. With a `mix` it is CPS+CutMix, and the
# loader draws twice as many unlabelled images as there are mixed ones.
# Published weight lambda: VOC 1.5, with CutMix 1.0; Cityscapes 6 and 5; CutMix with 92 to 732 labels 0.1, for
# which the authors call 0.5 clearly better with 183 and more.
method = dict(type="CPS", predict_on=0)
