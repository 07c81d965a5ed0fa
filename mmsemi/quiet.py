# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the stock packages say in every run and no user can act upon, dropped by its exact text.

That is a line or three for each parameter of a network, and deprecations inside the stock packages
themselves. With ``log_level='DEBUG'`` a log has all of its lines.
"""

from __future__ import annotations

import logging
import re
import warnings

from mmengine.logging import MMLogger
from mmengine.model import BaseModule

#: Beginnings of log lines.
LOG_LINES = (
    "paramwise_options -- ",
    '"FileClient" will be deprecated in future.',
    '"HardDiskBackend" is the alias of "LocalBackend"',
    "The prefix is not set in metric class ",
)
#: Beginnings of warnings, and the modules that they come from.
WARNINGS = (
    # mmcv-lite says this at every start; only Mask2Former needs the class, and asks for it itself.
    ("Fail to import ``MultiScaleDeformableAttention``", "mmcv.cnn.bricks.transformer"),
    ("``build_loss`` would be deprecated soon", "mmseg.models.builder"),
    ("The draw is False, it means that the hook", "mmseg.engine.hooks.visualization_hook"),
    (
        "`torch.cuda.amp.GradScaler(args...)` is deprecated.",
        "mmengine.optim.optimizer.amp_optimizer_wrapper",
    ),
    # A softmax over two classes trains as well as one output channel, and each network of a run says it.
    ("For binary segmentation, we suggest using", "mmseg.models.decode_heads.decode_head"),
    # Once for each size of image, and of no use where images have all sizes.
    ("When align_corners=True, the output would more aligned", "mmseg.models.utils.wrappers"),
)

#: IoU of a class in the line of a validation: the table above it has them, the scalars too.
_CLASS_IOU = re.compile(r"(?<=  )[^:]*?IoU\.[^:]*: [\d.]+(  |$)")

_stock_dump_init_info = BaseModule._dump_init_info


def apply() -> None:
    """Install the filters; calling it again changes nothing."""
    for message, module in WARNINGS:
        warnings.filterwarnings("ignore", re.escape(message), module=re.escape(module))
    MMLogger.filter = _keeps
    BaseModule._dump_init_info = _dump_init_info


def _has_debug_level(logger: MMLogger) -> bool:
    return any(handler.level <= logging.DEBUG for handler in logger.handlers)


def _keeps(logger: MMLogger, record: logging.LogRecord) -> bool:
    if str(record.msg).startswith(LOG_LINES) and not _has_debug_level(logger):
        return False
    if str(record.msg).startswith(("Iter(val)", "Epoch(val)")) and not _has_debug_level(logger):
        record.msg = _CLASS_IOU.sub("", record.msg).rstrip()
    return logging.Logger.filter(logger, record)


def _dump_init_info(module: BaseModule) -> None:
    if _has_debug_level(MMLogger.get_current_instance()):
        _stock_dump_init_info(module)
