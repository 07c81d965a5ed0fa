# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Memory of a training step on a foundation encoder, frozen and trained: a count of what is allocated.

    python -m benchmarks.encoder_memory [--size small] [--crop 518] [--labeled 1] [--unlabeled 1]

FixMatch with an EMA teacher and the DPT head, on random weights and pixels, in float32 on the CPU. It counts the bytes
of every tensor while it lives; a GPU needs what its kernels use for themselves, and what its allocator rounds up,
beside that. AdamW's state is that after the first step.
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import mmsemi  # noqa: F401  # registers everything

from .timing import whole_number

MIB = 2**20
HEADS = dict(
    small=dict(in_channels=384, channels=64, reassemble_channels=(48, 96, 192, 384)),
    base=dict(in_channels=768, channels=128, reassemble_channels=(96, 192, 384, 768)),
    tiny=dict(in_channels=32, channels=8, reassemble_channels=(4, 4, 8, 8)),
)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, until they are freed.

    Attributes:
        now: Bytes alive.
        peak: Most of them at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakSet = weakref.WeakSet()

    def _forget(self, size: int) -> None:
        self.now -= size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                if storage not in self._known:
                    self._known.add(storage)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._forget, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result


def model_config(size: str, crop: int, frozen: bool) -> dict:
    """FixMatch with a teacher on DINOv2 and DPT."""
    backbone = dict(type="DINOv2", size=size)
    if size == "tiny":
        backbone["size"] = dict(embed_dims=32, depth=4, num_heads=2)
    head = dict(type="DINOv2DPTHead", num_classes=21, **HEADS[size])
    head["loss_decode"] = dict(type="PixelCrossEntropy")
    return dict(
        type="FixMatch",
        segmentor=dict(
            type="PatchGridEncoderDecoder",
            backbone=backbone,
            decode_head=head,
            test_cfg=dict(mode="whole"),
        ),
        data_preprocessor=dict(
            type="SemiSegDataPreProcessor", size=(crop, crop), mean=[120.0] * 3, std=[60.0] * 3
        ),
        mix=dict(type="SingleBoxCutMix", pairing="reverse"),
        labeled_forward="strong",
        frozen_encoder=frozen,
    )


def make_batch(crop: int, labeled: int, unlabeled: int) -> dict:
    """Noise, as a loader delivers it."""
    inputs, samples = [], []
    for number, source in enumerate(["labeled"] * labeled + ["unlabeled"] * unlabeled):
        inputs.append(torch.randint(255, (3, crop, crop), dtype=torch.uint8))
        sample = SegDataSample(metainfo=dict(source=source, img_path=str(number), draw_seed=number))
        if source == "labeled":
            mask = torch.randint(21, (1, crop, crop), dtype=torch.uint8)
            sample.gt_sem_seg = PixelData(data=mask)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def bytes_of(tensors) -> int:
    """Bytes of tensors, each storage once."""
    return sum({t.untyped_storage(): t.untyped_storage().nbytes() for t in tensors}.values())


def measure(size: str, crop: int, labeled: int, unlabeled: int, frozen: bool) -> dict[str, float]:
    """MiB of weights, gradients and optimiser state, and the most that a step holds beside them.

    Args:
        size: Of DINOv2.
        crop: Side of the images.
        labeled: Labelled images.
        unlabeled: Unlabelled ones.
        frozen: The setting ``frozen_encoder``.

    Returns:
        ``weights``, ``gradients``, ``optimiser``, ``step`` and ``all``.
    """
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model: nn.Module = MODELS.build(Config(model_config(size, crop, frozen))._cfg_dict)
    model.init_weights()
    model.train()
    model.teacher.start(model.student)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="AdamW", lr=1e-6)))
    batch = make_batch(crop, labeled, unlabeled)
    with LiveBytes() as live:
        data = model.data_preprocessor(batch, training=True)
        losses, _ = model.parse_losses(model(**data, mode="loss"))
        losses.backward()
    gradients = bytes_of(p.grad for p in model.parameters() if p.grad is not None)
    wrapper.optimizer.step()
    states = wrapper.optimizer.state.values()
    state = bytes_of(v for values in states for v in values.values() if isinstance(v, Tensor))
    found = dict(
        weights=bytes_of([*model.parameters(), *model.buffers()]) / MIB,
        gradients=gradients / MIB,
        optimiser=state / MIB,
        # The gradients are among what the backward allocates.
        step=(live.peak - gradients) / MIB,
    )
    return {**found, "all": sum(found.values())}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both settings and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=HEADS, default="small")
    parser.add_argument("--crop", type=whole_number(1), default=518)
    parser.add_argument("--labeled", type=whole_number(1), default=1)
    parser.add_argument("--unlabeled", type=whole_number(1), default=1)
    args = parser.parse_args(arguments)
    print(
        f"DINOv2 {args.size}, DPT, crop {args.crop}, {args.labeled} + {args.unlabeled}: MiB, float32"
    )
    for frozen in (False, True):
        found = measure(args.size, args.crop, args.labeled, args.unlabeled, frozen)
        parts = ", ".join(f"{name} {value:,.0f}" for name, value in found.items())
        print(f"{'frozen' if frozen else 'trained'}: {parts}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
