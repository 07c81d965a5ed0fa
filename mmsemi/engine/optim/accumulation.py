# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Where a run stands in a window of gradient accumulation."""

from __future__ import annotations

from mmengine.optim import OptimWrapper, OptimWrapperDict


def steps_in(optim_wrapper: OptimWrapper, iterations: int) -> int:
    """Optimiser steps in so many iterations from the start of a run."""
    return iterations // getattr(optim_wrapper, "_accumulative_counts", 1)


def has_stepped(optim_wrapper: OptimWrapper) -> bool:
    """Whether the iteration that just ended stepped the optimiser: no gradient is waiting."""
    if (
        isinstance(optim_wrapper, OptimWrapperDict)
        and type(optim_wrapper).should_update is OptimWrapper.should_update
    ):  # inherited, but this container has no counter of its own
        return all(wrapper.should_update() for wrapper in optim_wrapper.values())
    return optim_wrapper.should_update()
