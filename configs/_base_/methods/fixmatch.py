# FixMatch (Sohn et al., NeurIPS 2020) as in UniMatch's code: the student labels.
method = dict(
    type="FixMatch",
    strong=dict(type="StrongPhotometric"),
    mix=dict(type="SingleBoxCutMix", pairing="permute"),
    labels_from="student",
    threshold=0.95,
)
