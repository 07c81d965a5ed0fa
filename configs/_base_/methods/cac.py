# CAC (Lai et al., CVPR 2021): features of two crops that overlap, which are blurred, then coloured. It starts after
# 5 x 1,157 iterations, also where a pass is shorter. Published: `step_save` 2 with R101 and 0 on Cityscapes.
method = dict(
    type="CAC",
    strong=dict(
        type="StrongPhotometric",
        jitter=(0.4, 0.4, 0.4, 0.1),
        p_jitter=0.8,
        p_gray=0.2,
        p_blur=0.5,
        sigma=(1.1, 1.1),
        blur_size=5,
        blur_first=True,
        pads_with_mean=True,
    ),
    start_iter=5785,
    step_save=1,
)
on_cityscapes = dict(method, step_save=0)
