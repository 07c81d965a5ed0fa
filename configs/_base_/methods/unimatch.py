# UniMatch V1 (Yang et al., CVPR 2023): two strong views of each unlabelled image.
method = dict(
    type="UniMatch",
    strong=dict(type="StrongPhotometric"),
    mix=dict(type="SingleBoxCutMix", pairing="permute"),
    num_views=2,
    threshold=0.95,
)
# As released: labelled, weak and both their perturbed features are decoded in one forward, for other batch-norm
# statistics of the decoder and more work.
released = dict(method, joint_decoder=True)
