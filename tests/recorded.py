# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Training steps on recorded views and mixes, to compare methods with their reference steps.

Everything is double precision, so that a wrong term cannot hide in rounding.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from reference.blocks import Recipe
from step_runner import StepRunner
from tiny_nets import initial
from torch import Tensor, nn

from mmsemi.models.settings import MethodSettings
from mmsemi.models.views import MixRecipe, PairedMix, Paste
from mmsemi.structures import Images, PseudoLabels, SemiBatch

SIZE = 16
NUM_CLASSES = 3


class RecordedMix(PairedMix):
    """Gives recorded recipes, one a view, and keeps the pseudo-labels that it was asked with."""

    def __init__(self, recipes: Sequence[MixRecipe]) -> None:
        super().__init__()
        self.recipes = list(recipes)
        self.pastes_labels = recipes[0].uses_labeled
        self.asked_with: PseudoLabels | None = None

    def num_mixed(self, num_images: int) -> int:
        return len(self.recipes[0].first)

    def draw(
        self,
        batch: SemiBatch,
        num_views: int = 1,
        pseudo: PseudoLabels | None = None,
        num_classes: int = 0,
    ) -> list[MixRecipe]:
        assert num_views == len(self.recipes)
        self.asked_with = pseudo
        return self.recipes


@dataclass
class Recorded:
    """A batch, the strong views of its unlabelled images, not mixed yet, and a recipe for each."""

    batch: SemiBatch
    views: list[Tensor]
    recipes: list[MixRecipe] = field(default_factory=list)

    def loss(self, method: nn.Module) -> dict[str, Tensor]:
        """The method's loss on these draws."""
        views = iter(self.views)
        method.strong_view = lambda images, batch: next(views)
        method.mix = RecordedMix(self.recipes) if self.recipes else None
        losses = method(self.batch, mode="loss")
        assert next(views, None) is None, "the method drew fewer views than recorded"
        return losses

    @property
    def reference_recipes(self) -> list[Recipe] | list[None]:
        """The recipes in the form of the reference steps."""
        if not self.recipes:
            return [None] * len(self.views)
        return [Recipe(r.first, [tuple(paste) for paste in r.pastes]) for r in self.recipes]

    def reference(
        self,
        step: Callable[..., dict[str, Tensor]],
        *networks: nn.Module | Sequence[nn.Module] | None,
        settings: MethodSettings,
        **further: Any,
    ) -> dict[str, Tensor]:
        """Losses of a reference step on these draws.

        Args:
            step: From :mod:`reference`; the names of its keywords are those of the settings.
            networks: Its first arguments.
            settings: Of the method.
            further: Further draws.
        """
        names = inspect.signature(step).parameters
        views, recipes = self.views, self.reference_recipes
        if "recipes" in names:
            mixes = dict(strong=views, recipes=recipes)
        else:
            mixes = dict(strong=views[0], recipe=recipes[0])
        options = [name for name, p in names.items() if p.kind is p.KEYWORD_ONLY]
        return step(
            *networks,
            labeled=self.batch.labeled.pixels_NCHW,
            labels=self.batch.labeled.labels_NHW,
            weak=self.batch.unlabeled.pixels_NCHW,
            valid=self.batch.unlabeled.valid_NHW,
            **mixes,
            **further,
            **{name: getattr(settings, name) for name in options},
        )

    @property
    def mixed_valid(self) -> Tensor:
        """Valid pixels of all views."""
        valid = self.batch.unlabeled.valid_NHW
        if not self.recipes:
            return valid.repeat(len(self.views), 1, 1)
        return MixRecipe.concatenate(self.recipes).apply(valid)


def make_images(
    pixels: Tensor, labels: Tensor | None = None, valid: Tensor | None = None
) -> Images:
    """Images of one source; without ``valid`` none is padded."""
    samples = [SegDataSample(metainfo=dict(img_path=f"{i}.png")) for i in range(len(pixels))]
    if labels is not None:
        for sample, label in zip(samples, labels):
            sample.gt_sem_seg = PixelData(data=label[None])
    if valid is None:
        valid = torch.ones_like(pixels[:, 0], dtype=torch.bool)
    rgb = torch.zeros_like(pixels, dtype=torch.uint8)  # views are recorded, nothing starts from it
    return Images(pixels, rgb, valid, samples, labels)


def make_recorded(
    pairing: str | None = None,
    views: int = 1,
    strong: bool = True,
    gt: bool = False,
    size: int = SIZE,
) -> Recorded:
    """2 labelled and 4 unlabelled images.

    Labels have ignored rows, two unlabelled images have padding, each view has masks of its own.

    Args:
        pairing: 'halves', 'permute' or 'reverse' pairs; None does not mix.
        views: Student views.
        strong: Whether the student views have other pixels than the weak ones.
        gt: Whether a source ``gt`` of three images, with another range of values, is there too.
        size: Height and width.
    """
    generator = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, size, size, generator=generator, dtype=torch.float64)

    def classes(count: int) -> Tensor:
        return torch.randint(0, NUM_CLASSES, (count, size, size), generator=generator)

    labels = classes(2)
    labels[:, :3] = 255
    weak = noise(4, 3)
    valid = torch.ones(4, size, size, dtype=torch.bool)
    valid[1, -4:] = False
    valid[2, :, -6:] = False
    students = [weak + 0.5 * noise(4, 3) if strong else weak for _ in range(views)]
    recipes = []
    if pairing is not None:
        first, second = {
            "halves": ([0, 1], [3, 2]),
            "permute": ([0, 1, 2, 3], [2, 3, 1, 0]),
            "reverse": ([0, 1, 2, 3], [3, 2, 1, 0]),
        }[pairing]
        for view in range(views):
            mask = torch.zeros(len(first), 1, size, size, dtype=torch.bool)
            for i in range(len(first)):
                mask[i, :, 2 + i : 9 + i + view, 3 * view : 12 - i] = True
            recipes.append(MixRecipe(torch.tensor(first), [Paste(mask, torch.tensor(second))]))
    batch = SemiBatch(make_images(noise(2, 3), labels), make_images(weak, valid=valid))
    if gt:
        truth = classes(3)
        truth[0, size // 2 :] = 255
        batch.sources["gt"] = make_images(0.3 * noise(3, 3), truth)
    return Recorded(batch, students, recipes)


def image(*rows: list[tuple[float, float, float]]) -> Tensor:
    """Logits (1, 3, H, W) of rows of pixels."""
    return torch.tensor(rows, dtype=torch.float32).permute(2, 0, 1)[None]


#: Logits of docs/methods/fixmatch.md#loss-by-hand: an image, the one that is pasted, the mixed view.
WEAK_LOGITS = image([(4, 0, 0), (0, 3, 0), (0, 0, 4)], [(0, 4, 0), (3, 0, 0), (4, 0, 0)])
PASTED_LOGITS = image([(0, 4, 0)] * 3, [(0, 4, 0), (0, 4, 0), (0, 0, 3)])
MIXED_LOGITS = image([(1, 0, 0)] * 3, [(1, 0, 0)] * 3)


def make_case_by_hand(views: int = 1) -> Recorded:
    """Of that known answer: padding at (1, 0), of the pasted image at (0, 2); column 2 is pasted."""
    pixels = torch.zeros(2, 3, 2, 3)
    valid = torch.ones(2, 2, 3, dtype=torch.bool)
    valid[0, 1, 0] = valid[1, 0, 2] = False
    mask = torch.zeros(1, 1, 2, 3, dtype=torch.bool)
    mask[..., 2] = True
    recipe = MixRecipe(torch.tensor([0]), [Paste(mask, torch.tensor([1]))])
    labeled = make_images(pixels, torch.zeros(2, 2, 3, dtype=torch.long))
    batch = SemiBatch(labeled, make_images(pixels, valid=valid))
    return Recorded(batch, [pixels] * views, [recipe] * views)


def make_method(segmentor: dict, preprocessor: dict, **model: Any) -> StepRunner:
    """A method with its hooks, without dropout in the head, in double precision.

    The teacher is not the student, as after some training: other weights, other statistics.
    """
    segmentor = copy.deepcopy(segmentor)
    segmentor["backbone"]["zero_init_residual"] = False
    segmentor["decode_head"]["dropout_ratio"] = 0
    segmentor["decode_head"]["init_cfg"] = initial(0.5)
    torch.manual_seed(0)
    method = MODELS.build(dict(segmentor=segmentor, data_preprocessor=preprocessor, **model))
    method.init_weights()
    method.double()
    for name, value in method.named_buffers():
        if "running_var" in name:
            value.uniform_(0.5, 2)
        elif "running_mean" in name:
            value.normal_(0, 0.2)
    runner = StepRunner(method)
    if method.has_teacher:
        with torch.no_grad():
            for value in method.teacher.module.state_dict().values():
                if value.is_floating_point():
                    value.mul_(1 + 0.2 * torch.rand_like(value))
    return runner


def run_mixed(runner: StepRunner, batch: SemiBatch) -> tuple[dict[str, Tensor], list[MixRecipe]]:
    """Losses of a step with the method's own mix, and the recipes that it drew, from seed 7."""
    mix, recipes = runner.model.mix, []
    draw = mix.draw
    mix.draw = lambda *args: recipes.extend(draw(*args)) or recipes
    batch.generator = torch.Generator().manual_seed(7)
    runner.start_step()
    return runner.model(batch, mode="loss"), recipes


def total(losses: dict[str, Tensor]) -> Tensor:
    """What is back-propagated."""
    return sum(value for key, value in losses.items() if "loss" in key)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def check_step(
    runner: StepRunner, recorded: Recorded, expected: dict[str, Tensor], reference: nn.Module
) -> dict[str, Tensor]:
    """A method's step against its reference step: losses, gradients and running statistics.

    Args:
        runner: With the method.
        recorded: The draws of both.
        expected: Losses of the reference step, by the method's keys; ``sup`` is the sum of all whose
            key begins so.
        reference: A copy of the method from before, whose networks the reference step has run.

    Returns:
        The method's losses.
    """
    model = runner.model
    runner.start_step()
    losses = recorded.loss(model)
    ours = {key: value for key, value in losses.items() if "loss" in key}
    for key, value in expected.items():
        parts = [ours.pop(k) for k in list(ours) if k == key or k.startswith(f"{key}.")]
        assert parts, key
        torch.testing.assert_close(
            sum(parts).double(), value.double(), rtol=1e-6, atol=1e-9, msg=key
        )
    assert not ours, f"losses without a reference: {list(ours)}"
    total(losses).backward()
    sum(expected.values()).backward()
    assert_same_step(model, reference)
    return losses


def check_shown_labels(model: nn.Module, recorded: Recorded) -> None:
    """A method with a threshold shows the labels that it counts."""
    model.wants_to_show = True
    losses, shown = recorded.loss(model), model.shown
    shape = recorded.batch.unlabeled.valid_NHW.shape
    assert shown.pseudo.label_NHW.shape == shown.pseudo.confidence_NHW.shape == shape
    assert len(shown.target_BHW) == len(shown.views_BCHW) == len(shown.first_B)
    share = (shown.target_BHW != 255).sum() / recorded.mixed_valid.sum()
    torch.testing.assert_close(losses["unsup.mask_ratio"], share)


def assert_same_step(model: nn.Module, reference: nn.Module) -> None:
    """Equal gradients of all parameters and equal buffers, of all networks."""
    ours, theirs = gradients(model), gradients(reference)
    assert ours.keys() == theirs.keys()
    assert {name for name, p in model.named_parameters() if p.requires_grad} == ours.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-6, msg=name)
    assert any(gradient.abs().max() > 1e-3 for gradient in theirs.values())
    values = dict(reference.named_buffers())
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, values[name], rtol=1e-9, atol=1e-9, msg=name)


def expected_teacher(
    student: nn.Module, teacher: nn.Module, weight: float, buffers: str
) -> dict[str, Tensor]:
    """The average as it must be, in plain torch; call it before it is made.

    Args:
        student: New values.
        teacher: Old values, the network itself.
        weight: Weight of the new value.
        buffers: 'keep' or 'ema' (integer buffers are copied).
    """
    names = {name for name, _ in teacher.named_parameters()}
    new = dict(student.state_dict())
    result = {}
    for name, old in teacher.state_dict().items():
        if name in names or (buffers == "ema" and old.is_floating_point()):
            result[name] = (1 - weight) * old + weight * new[name]
        else:
            result[name] = (new[name] if buffers == "ema" else old).clone()
    return result


def assert_state(net: nn.Module, expected: dict[str, Tensor]) -> None:
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12, msg=name)
