# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .accumulation import has_stepped, steps_in
from .joint_constructor import JointOptimWrapperConstructor
from .joint_optim_wrapper import JointOptimWrapper

__all__ = ["JointOptimWrapper", "JointOptimWrapperConstructor", "has_stepped", "steps_in"]
