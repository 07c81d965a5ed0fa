# UniMatch V2 (Yang et al., TPAMI 2025): an EMA teacher labels, two strong views share their channels.
method = dict(
    type="UniMatchV2",
    strong=dict(type="StrongPhotometric"),
    mix=dict(type="SingleBoxCutMix", pairing="reverse"),
    threshold=0.95,
)
# Without batch norm one forward of labelled images and strong views is the same loss as the two that are released.
on_transformers = dict(method, labeled_forward="strong")
