# U2PL (Wang et al., CVPR 2022): half of an image is pasted on another one in every second batch; no colours change.
# `percent_iters`, and `warmup_iters` on VOC, are one pass over the unlabelled images.
method = dict(
    type="U2PL",
    mix=dict(type="HalfCutMix"),
    contrast_weight=0.1,
    unreliable_percent=20.0,
    momentum=0.01,
)
