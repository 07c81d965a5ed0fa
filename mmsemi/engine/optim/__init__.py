# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from .joint_constructor import JointOptimWrapperConstructor
from .joint_optim_wrapper import JointOptimWrapper

__all__ = ["JointOptimWrapper", "JointOptimWrapperConstructor"]
