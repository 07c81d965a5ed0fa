# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Learning rate (cps.md K6) and gradient scale (K7) of the CPS experiments on the stock engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.optim import PolyLR
from torch import Tensor, nn


def learning_rates(end: int, steps: int) -> list[float]:
    """Learning rate seen by steps 0 .. steps-1 under mmengine's PolyLR."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.0025)
    schedule = PolyLR(optimizer, power=0.9, eta_min=0.0, begin=0, end=end, by_epoch=False)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_poly_with_end_one_later_is_the_reference():
    total = 39_338
    rates = learning_rates(end=total + 1, steps=total)
    assert rates[0] == 0.0025
    assert rates[1] == pytest.approx(0.00249994, abs=5e-9)
    assert rates[19_669] == pytest.approx(0.00133972, abs=5e-9)
    for t in (1, 10_000, 19_669, total - 1):
        assert rates[t] == pytest.approx(0.0025 * (1 - t / total) ** 0.9, rel=1e-6)
    assert rates[-1] > 0


def test_poly_with_the_iteration_count_ends_at_zero():
    """The trap of cps.md T12: end=T leaves nothing to the last step."""
    assert learning_rates(end=100, steps=100)[-1] == pytest.approx(0, abs=1e-12)
    assert learning_rates(end=101, steps=100)[-1] == pytest.approx(0.0025 * 0.01**0.9, rel=1e-6)


def save_gradients(rank: int, directory: Path) -> None:
    """Gradient of w*x, w=2, x=rank+1, through the stock train step, and with the reference's."""
    from mmengine.model import BaseModel, MMDistributedDataParallel
    from mmengine.optim import OptimWrapper

    class Line(BaseModel):
        def __init__(self, divided_twice: bool) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([2.0]))
            self.divided_twice = divided_twice

        def forward(self, inputs: Tensor, mode: str = "loss") -> dict:
            loss = (self.w * inputs).mean()
            if self.divided_twice:  # what the released CPS code does
                torch.distributed.all_reduce(loss.data)
                loss = loss / 2
            return dict(loss=loss)

    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{directory}/rendezvous", rank=rank, world_size=2
    )
    gradients = []
    for divided_twice in (False, True):
        model = MMDistributedDataParallel(Line(divided_twice))
        optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
        model.train_step(dict(inputs=torch.tensor([rank + 1.0])), optim_wrapper)
        gradients.append(2.0 - model.module.w.item())  # lr 1: the step is the gradient
    torch.distributed.destroy_process_group()
    torch.save(gradients, directory / f"{rank}.pt")


def test_gradients_are_divided_once(tmp_path):
    """Known answer K7: the engine averages over ranks (1.5), the released code once more (0.75)."""
    ranks = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)]) for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in ranks] == [0, 0]
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == [1.5, 0.75]


if __name__ == "__main__":
    save_gradients(int(sys.argv[1]), Path(sys.argv[2]))
