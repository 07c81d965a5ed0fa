# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What a step of a method draws: noted from one step, and given to others and to the reference."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any
from unittest.mock import patch

from reference.blocks import Recipe
from reference.u2pl import Draws as Uniforms
from reference.u2pl import Ring
from torch import Tensor, nn


@dataclass
class Draws:
    """What one step of a method draws; filled from a step, and played to others.

    Attributes:
        views: Strong views of all unlabelled images, before they are mixed.
        recipes: How each of them is mixed; empty for a method that does not mix.
        channel_factors: Of the channels that are dropped, for each feature map; empty for none.
        uniforms: Numbers of U2PL's contrastive loss.
        rings: The memory bank of its reference step.
        pseudo: Views of pseudo-labelled images with their labels, of a round of self-training.
        calls: What was called for views and recipes, to do it :meth:`again`.
    """

    views: list[Tensor] = field(default_factory=list)
    recipes: list[Recipe] = field(default_factory=list)
    channel_factors: list[Tensor] = field(default_factory=list)
    uniforms: Uniforms | None = None
    rings: list[Ring] = field(default_factory=list)
    pseudo: tuple[Tensor, Tensor] | None = None
    calls: list[Callable[[], Any]] = field(default_factory=list)

    @contextmanager
    def recorded_from(self, method: nn.Module) -> Iterator[None]:
        """Note what the step draws that runs within."""
        self.views, self.recipes, self.channel_factors, self.calls = [], [], [], []
        strong_view, mix = method.strong_view, getattr(method, "mix", None)
        draw_recipes = getattr(mix, "draw", None)
        drop_channels, draw_factors = (_module(method, name).get(name) for name in _CHANNELS)

        def note(call: Callable[[], Any]) -> Any:
            self.calls.append(call)
            return call()

        def view(*args: Any, **kwargs: Any) -> Tensor:
            self.views.append(note(lambda: strong_view(*args, **kwargs)))
            return self.views[-1]

        def recipes(*args: Any, **kwargs: Any) -> list[Recipe]:
            self.recipes = note(lambda: draw_recipes(*args, **kwargs))
            return self.recipes

        def drop(feats: Any, probability: float) -> Any:
            ones = [feat.new_ones(*feat.shape[:2], 1, 1) for feat in feats]
            self.channel_factors = drop_channels(ones, probability)
            return self._dropped(feats)

        draw_uniforms = getattr(getattr(method, "class_contrast", None), "draw", None)

        def factors(*args: Any) -> Any:
            self.channel_factors = draw_factors(*args)
            return self.channel_factors

        def uniforms(*args: Any) -> Any:
            self.uniforms = note(lambda: draw_uniforms(*args))
            return self.uniforms

        pseudo_views = getattr(method, "_views", None)

        def pseudo(*args: Any) -> tuple[Tensor, Tensor]:
            self.pseudo = pseudo_views(*args)
            return self.pseudo

        with _replaced(method, view, recipes, uniforms, pseudo, drop, factors):
            yield

    @contextmanager
    def played_to(self, method: nn.Module) -> Iterator[None]:
        """Let every step that runs within draw the same."""
        views = cycle(self.views)
        with _replaced(
            method,
            lambda *_, **__: next(views),
            lambda *_, **__: self.recipes,
            lambda *_: self.uniforms,
            lambda *_: self.pseudo,
            lambda feats, _: self._dropped(feats),
            lambda *_: self.channel_factors,
        ):
            yield

    def again(self) -> None:
        """Draw views and recipes anew, for nothing but the time that it takes."""
        for call in self.calls:
            call()

    def _dropped(self, feats: Any) -> Any:
        return type(feats)(feat * factor for feat, factor in zip(feats, self.channel_factors))


# What methods draw channels with: a drop of features, or factors for them.
_CHANNELS = "drop_channels", "complementary_factors"


def _module(method: nn.Module, name: str) -> dict[str, Any]:
    """The names of the file of the method, or of its base method, that has this one."""
    files = (vars(sys.modules[kind.__module__]) for kind in type(method).__mro__)
    return next((names for names in files if name in names), {})


@contextmanager
def _replaced(
    method: nn.Module,
    view: Callable,
    recipes: Callable,
    uniforms: Callable,
    pseudo: Callable,
    *channels: Callable,
) -> Iterator[None]:
    """Replace what a method draws with for a while."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(method, "strong_view", view))
        if getattr(method, "mix", None) is not None:
            stack.enter_context(patch.object(method.mix, "draw", recipes))
        if hasattr(method, "class_contrast"):
            stack.enter_context(patch.object(method.class_contrast, "draw", uniforms))
        if hasattr(method, "_views"):
            stack.enter_context(patch.object(method, "_views", pseudo))
        for name, draw in zip(_CHANNELS, channels):
            if names := _module(method, name):
                stack.enter_context(patch.dict(names, {name: draw}))
        yield
