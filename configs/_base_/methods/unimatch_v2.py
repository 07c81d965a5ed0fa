# UniMatch V2 (Yang et al., TPAMI 2025): an EMA teacher labels, two strong views share their channels.
method = dict(
    type="UniMatchV2",
    strong=dict(type="StrongPhotometric"),
    mix=dict(type="SingleBoxCutMix", pairing="reverse"),
    threshold=0.95,
)
