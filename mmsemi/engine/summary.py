# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What is trained, in one line of the log."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from .unwrap import unwrapped_model


def log_summary(runner: Runner) -> None:
    """Log the method, its networks and where their weights come from, and the images it trains on."""
    model = unwrapped_model(runner)
    file = runner._load_from or "a checkpoint"
    parts = [describe_networks(model, file), describe_data(runner.train_dataloader.dataset)]
    runner.logger.info(f"training {type(model).__name__}: {'; '.join(parts)}")


def describe_networks(model: nn.Module, file: str) -> str:
    """Each network with its parameters, and how many of its tensors a file gave.

    Args:
        model: Its attribute ``loaded``, if it has one, says of each network by its name in the state
            dict (``student``, ``branches.0``) how many tensors the last checkpoint had, and of how many.
        file: That checkpoint.
    """
    loaded = getattr(model, "loaded", {})
    texts = []
    for name, network in _networks(model):
        text = f"{name} {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters"
        if name in loaded:
            found, total = loaded[name]
            text += f" (loaded {found} of {total} tensors from {file})"
        texts.append(text)
    return ", ".join(texts)


def _networks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The parts of a model that have parameters, those of a list one by one."""
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{number}", part) for number, part in child.named_children())
        elif any(True for _ in child.parameters()):
            yield name, child


def describe_data(dataset: Dataset) -> str:
    """The images of each source, and the split with the hash of its labelled ones."""
    ranges = getattr(dataset, "source_ranges", None)
    if ranges is None:
        return f"{len(dataset)} images"
    counts = ", ".join(f"{len(span)} {name}" for name, span in ranges.items())
    split = getattr(dataset, "split_info", None)
    if split is None:  # a data set of the user's own
        return f"{counts} images"
    return f"{counts} images; split {split['name']}, labelled sha256 {split['labeled_sha256'][:16]}"
