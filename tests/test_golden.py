# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Golden loss curves: a refactor that changes a method's numbers must say why.

Short seeded runs on one thread, stored in ``tests/golden/<name>.json`` with the torch version. CPUs
differ in the last bits, hence rtol 1e-3. ``pytest tests/test_golden.py --write-golden`` stores new ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"
METHODS = {
    "supervised": dict(type="Supervised"),
    "cps": dict(type="CPS", semi_train_cfg=dict(unsup_weight=1.5)),
    "cps_cutmix": dict(type="CPS", semi_train_cfg=dict(unsup_weight=1.0)),
}
ITERATIONS = 8


def curve(name: str, segmentor: dict, preprocessor: dict, dataset: dict) -> list[dict[str, float]]:
    """Losses of the first iterations of a method, SGD, one thread, seed 0."""
    from mmengine.dataset import pseudo_collate
    from mmseg.registry import DATASETS, MODELS

    from mmsemi.datasets import MultiSourceSampler

    if name == "cps_cutmix":
        preprocessor = {**preprocessor, "mix": dict(type="CutMix")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        model = MODELS.build(
            dict(segmentor=segmentor, data_preprocessor=preprocessor, **METHODS[name])
        )
        for net in model.networks():
            net.init_weights()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        data = DATASETS.build(dataset)
        sampler = MultiSourceSampler(data, dict(labeled=2, unlabeled=4), seed=0)
        steps = []
        model.train()
        for iteration in range(ITERATIONS):
            batch = pseudo_collate([data[draw] for draw in sampler.batch(iteration)])
            losses = model(**model.data_preprocessor(batch, training=True), mode="loss")
            total, log = model.parse_losses(losses)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            steps.append({k: v.item() for k, v in log.items() if "loss" in k})
        return steps
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", METHODS)
def test_losses_follow_the_golden_curve(
    name, segmentor_config, preprocessor_config, semi_config, request
):
    got = curve(name, segmentor_config, preprocessor_config, semi_config)
    if request.config.getoption("--write-golden"):
        text = json.dumps({"torch": torch.__version__, "losses": got}, indent=1)
        (GOLDEN / f"{name}.json").write_text(text + "\n")
    stored = json.loads((GOLDEN / f"{name}.json").read_text())
    assert len(got) == len(stored["losses"]) == ITERATIONS
    for iteration, (ours, golden) in enumerate(zip(got, stored["losses"])):
        assert ours == pytest.approx(golden, rel=1e-3), f"iteration {iteration}"
