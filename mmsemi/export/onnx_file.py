# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A segmentation network as an ONNX file, accepted only if onnxruntime agrees with torch.

Which sizes it takes is found out by :mod:`.agreement`. Encoders that are known to trace one size alone
(``traces_one_size``: DINOv2, DINOv3) get files of one size, one for each.

Input ``images`` (N, 3, H, W) float, normalised (mean, std and channel order are in the file's
metadata, with the classes); output ``logits`` (N, C, H, W), resized to the input.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..models.forward import forward
from .agreement import Agreement, Form, Shape, compare, forms_at, most_general


class Logits(nn.Module):
    """A plain mmseg segmentor reduced to tensor in, tensor out, for tracing.

    Args:
        net: The segmentor; it stays as it is.
        shape_hw: Height and width of the traced input.

    Raises:
        ConfigError: The encoder takes no images of that size.
    """

    def __init__(self, net: nn.Module, shape_hw: tuple[int, int]) -> None:
        super().__init__()
        self.net = copy.deepcopy(net)
        for module in list(self.net.modules()):
            if getattr(module, "traces_one_size", False):
                module.fix_size(shape_hw)
            for name, child in module.named_children():
                if isinstance(child, nn.AdaptiveAvgPool2d):
                    setattr(module, name, TraceablePool(child.output_size))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C, H, W) of normalised images (N, 3, H, W); two classes of a binary head."""
        return forward(self.net, images).logits_NCHW


class TraceablePool(nn.Module):
    """``AdaptiveAvgPool2d`` as two matrix products, which exist in ONNX for every size.

    ONNX has no adaptive pooling; torch's exporter knows only sizes that divide the feature map's,
    which the pyramid pooling of PSPNet and UPerNet (3 and 6 bins) hardly ever has.
    """

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        super().__init__()
        is_pair = isinstance(output_size, (tuple, list))
        self.bins_hw = tuple(output_size) if is_pair else (output_size, output_size)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Means over the bins, (N, C, bins_h, bins_w)."""
        rows = self._bin_weights(x_NCHW.shape[2], self.bins_hw[0], x_NCHW)
        columns = self._bin_weights(x_NCHW.shape[3], self.bins_hw[1], x_NCHW)
        return rows @ x_NCHW @ columns.t()

    @staticmethod
    def _bin_weights(size: int, bins: int | None, like: Tensor) -> Tensor:
        """(bins, size): row i averages pixels floor(i size / bins) to ceil((i+1) size / bins)."""
        pixel = torch.arange(size, device=like.device)
        if bins is None:
            return (pixel[:, None] == pixel).to(like.dtype)
        number = torch.arange(bins, device=like.device)[:, None]
        start = torch.div(number * size, bins, rounding_mode="floor")
        end = torch.div((number + 1) * size + bins - 1, bins, rounding_mode="floor")
        inside = ((pixel >= start) & (pixel < end)).to(like.dtype)
        return inside / inside.sum(1, keepdim=True)


def write_onnx(
    model: Logits, path: Path, shape_hw: tuple[int, int], facts: Mapping[str, str]
) -> tuple[Form, Agreement]:
    """Trace a network, write it, and compare it with torch.

    Args:
        model: The network.
        path: The file.
        shape_hw: Height and width of the traced input, those that ``model`` was made for.
        facts: Key and text of the notes in the file.

    Returns:
        Which inputs the file takes, and how far it is from torch.

    Raises:
        ConfigError: No form could be exported and agrees with torch.
    """

    def write(form: Form) -> Agreement:
        _trace(model, path, form)
        _add_metadata(path, facts)
        return _agreement(model, path, form.shapes)

    try:
        return most_general(forms_at(shape_hw, one_size_part(model) is None), write, "ONNX")
    except ConfigError:
        path.unlink(missing_ok=True)
        raise


def one_size_part(net: nn.Module) -> str | None:
    """Name of a part of a network whose trace is right at one size only; None without one."""
    parts = [m for m in net.modules() if getattr(m, "traces_one_size", False)]
    return type(parts[0]).__name__ if parts else None


def _trace(model: nn.Module, path: Path, form: Form) -> None:
    batch, height, width = form.shapes[0]
    axes = dict(form.dynamic)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about sizes in Python, which the comparison judges
        torch.onnx.export(
            model,
            (torch.zeros(batch, 3, height, width),),
            os.fspath(path),
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": axes, "logits": axes} if axes else None,
            opset_version=17,
            # The newer exporter needs one more package, and compiles for minutes.
            dynamo=False,
        )


def _add_metadata(path: Path, facts: Mapping[str, str]) -> None:
    model = onnx.load(os.fspath(path))
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    onnx.save(model, os.fspath(path))


def _agreement(model: nn.Module, path: Path, shapes: Sequence[Shape]) -> Agreement:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # a form that does not work is no error
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return compare(model, run, shapes)
