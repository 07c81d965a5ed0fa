# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Whether a file, run by its own runtime, gives what torch gives, and for which inputs.

The most general form that works is taken: any batch and image size, else any batch, else one fixed
input. Whether a form works is decided by running it on inputs of other sizes, because a traced
network may hide a size as a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..errors import ConfigError

#: Largest difference of a logit, as a share of the largest logit (which counts as 1 if it is smaller).
TOLERANCE = 1e-4
#: Least share of the pixels that must get the same class.
EQUAL_PIXELS = 0.9999

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Form:
    """Inputs that a file takes.

    Attributes:
        takes: In words.
        shapes: (N, H, W) of the inputs that it is compared on; the first is the traced one.
        dynamic: Axes of any size, with their names.
    """

    takes: str
    shapes: Sequence[Shape]
    dynamic: Mapping[int, str] = field(default_factory=dict)


def forms_at(shape_hw: tuple[int, int], any_size: bool) -> list[Form]:
    """The forms to try, the most general one first.

    Args:
        shape_hw: Height and width of the traced input.
        any_size: Whether other sizes are tried.
    """
    height, width = shape_hw
    traced = (1, height, width)
    forms = [
        Form(f"any batch, images of {height}x{width} only", [traced, (3, *shape_hw)], {0: "batch"}),
        Form(f"one image of {height}x{width} only", [traced]),
    ]
    if any_size:
        others = [(2, height + 32, width + 64), (1, height + 17, width + 9)]
        axes = {0: "batch", 2: "height", 3: "width"}
        forms.insert(0, Form("any batch and image size", [traced, *others], axes))
    return forms


@dataclass(frozen=True)
class Agreement:
    """How far a file is from torch.

    Attributes:
        gap: Largest difference of the logits, relative to the largest logit where that is above 1.
        differing: Pixels that get another class.
        pixels: Pixels compared.
    """

    gap: float
    differing: int
    pixels: int

    @property
    def holds(self) -> bool:
        """Whether the file may be used; NaN is no agreement."""
        enough = self.pixels - self.differing >= EQUAL_PIXELS * self.pixels
        return self.gap <= TOLERANCE and enough

    def __str__(self) -> str:
        return (
            f"largest difference to torch {self.gap:.1e}, "
            f"{self.differing:,} of {self.pixels:,} pixels with another class"
        )


@torch.no_grad()
def compare(
    model: nn.Module, run: Callable[[Tensor], Tensor], shapes: Sequence[Shape]
) -> Agreement:
    """Run both on noise.

    Args:
        model: Images (N, 3, H, W) to logits (N, C, H, W).
        run: The same by the file.
        shapes: (N, H, W) of the inputs.

    Raises:
        RuntimeError: The file gives logits of another shape.
    """
    generator = torch.Generator().manual_seed(0)
    gaps, differing, pixels = [], 0, 0
    for batch, height, width in shapes:
        images = torch.randn(batch, 3, height, width, generator=generator)
        expected, found = model(images), run(images)
        if found.shape != expected.shape:
            raise RuntimeError(f"gives {tuple(found.shape)} for input {tuple(images.shape)}")
        gaps.append((found - expected).abs().max() / expected.abs().max().clamp(min=1))
        differing += int((found.argmax(1) != expected.argmax(1)).sum())
        pixels += batch * height * width
    return Agreement(float(torch.stack(gaps).max()), differing, pixels)


def most_general(
    forms: Sequence[Form], write: Callable[[Form], Agreement], kind: str
) -> tuple[Form, Agreement]:
    """Write a network in one form after the other, until one agrees with torch.

    Args:
        forms: The most general one first.
        write: Writes the file and compares it with torch; whatever it raises rules the form out.
        kind: Of file, for the message.

    Returns:
        The form, and how far it is from torch.

    Raises:
        ConfigError: None could be written and agrees with torch; says why the last one was not.
    """
    reason = ""
    for form in forms:
        try:
            agreement = write(form)
        # Exporters and runtimes raise types of their own, down to plain Exception.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            continue
        if agreement.holds:
            return form, agreement
        reason = str(agreement)
    _, height, width = forms[-1].shapes[0]
    raise ConfigError(f"this network has no {kind} form at {height}x{width}: {reason[:300]}")
