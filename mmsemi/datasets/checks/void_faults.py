# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The value of pixels without a label: its home is the decode head, everything else must agree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from ..pipelines import walk_transforms
from ..transforms import AddImageLabels
from .findings import Hit
from .mask_faults import with_masks
from .survey import Survey

_HEAD = "decode_head.ignore_index"
_PADDING = "data_preprocessor.seg_pad_val"


def void_of_model(model: nn.Module) -> list[tuple[str, int]]:
    """Settings that hold the void value: heads and losses of a built model, and its preprocessor."""
    model = getattr(model, "module", model)  # of a distributed one
    found = []
    for name, module in model.named_modules():
        place = re.search(r"(decode|auxiliary)_head.*", name)
        for key in ("ignore_index", "ignore_label") if place else ():
            value = getattr(module, key, None)
            if isinstance(value, int):
                found.append((f"{re.sub(r'[.][0-9]+', '', place[0])}.{key}", value))
    padding = getattr(getattr(model, "data_preprocessor", None), "seg_pad_val", None)
    return [*dict.fromkeys(found), *([] if padding is None else [(_PADDING, padding)])]


def void_of_config(model: Mapping) -> list[tuple[str, int]]:
    """The same of a model's config, as far as it says so."""
    inner = model.get("segmentor") or model
    head = inner.get("decode_head")
    head = head[-1] if isinstance(head, (list, tuple)) and head else head
    if not isinstance(head, Mapping):
        return []
    pad_val = 255
    for preprocessing in (inner.get("data_preprocessor"), model.get("data_preprocessor")):
        pad_val = (preprocessing or {}).get("seg_pad_val", pad_val)
    return [(_HEAD, head.get("ignore_index", 255)), (_PADDING, pad_val)]


def void_of_metrics(metrics: Iterable[object]) -> list[tuple[str, int]]:
    """The same of the metrics of an evaluator."""
    found = ((type(one).__name__, getattr(one, "ignore_index", None)) for one in metrics)
    return [(f"val_evaluator.{name}.ignore_index", v) for name, v in found if isinstance(v, int)]


def contradictions(survey: Survey) -> Iterator[Hit]:
    """Settings of another void value than the decode head's; that of a metric only spoils a score."""
    home = next((value for name, value in survey.void if name == _HEAD), None)
    if home is None:
        return
    settings = [*survey.void, *_of_sources(survey)]
    others = [(name, f"{name}={value}") for name, value in settings if value != home]
    for severity, of_metric in (("error", False), ("warning", True)):
        chosen = [text for name, text in others if name.startswith("val_evaluator.") == of_metric]
        yield Hit("void value", chosen, dict(home=home, others=", ".join(chosen)), severity)


def _of_sources(survey: Survey) -> Iterator[tuple[str, int]]:
    for source in with_masks(survey):
        where = f"{source.role}_dataloader.dataset"
        where += f".{source.name}" if source.role == "train" else ""
        for part in source.parts:
            yield f"{where}.ignore_index", getattr(part.dataset, "ignore_index", 255)
            for step in walk_transforms(getattr(part.dataset, "pipeline", None)):
                if isinstance(step, AddImageLabels):
                    yield f"{where}.pipeline.AddImageLabels.ignore_index", step.ignore_index
