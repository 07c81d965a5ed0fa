# FixMatch (Sohn et al., NeurIPS 2020) as in UniMatch's code: the student labels.
method = dict(
    type="FixMatch",
    strong=dict(type="StrongPhotometric"),
    mix=dict(type="SingleBoxCutMix", pairing="permute"),
    labels_from="student",
    threshold=0.95,
)
# As released: the labelled images share the forward, and its batch-norm statistics, with the weak views.
released = dict(method, labeled_forward="weak")
