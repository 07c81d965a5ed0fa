# UniMatch V1 (Yang et al., CVPR 2023): two strong views of each unlabelled image.
method = dict(
    type="UniMatch",
    strong=dict(type="StrongPhotometric"),
    mix=dict(type="SingleBoxCutMix", pairing="permute"),
    num_views=2,
    threshold=0.95,
)
