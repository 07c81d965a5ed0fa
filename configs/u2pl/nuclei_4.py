# U2PL on nuclei, 4 labelled images; settings are ours. Of two classes an unreliable pixel is a negative of the second one.
_base_ = ["../_base_/data/nuclei.py", "../_base_/methods/u2pl.py"]
model = dict(_base_.method, momentum=0.02, representation_channels=64, bank_size=5000)
