# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""A checked ONNX file as a model of OpenVINO (``net.xml`` and ``net.bin``), accepted only if it agrees with torch.

The ONNX file is converted and not the torch module: it has the pooling and the fixed positions that a trace
needs, its sizes are known to work, and reading it takes no more than OpenVINO's runtime, while its
converter for torch traces a second time and sends statistics of its use.

Weights stay float32, where OpenVINO would store float16. Input, output and notes are those of the ONNX file;
the notes are in the runtime information of the model, below ``mmsemi``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import openvino
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .agreement import Agreement, Form, compare, most_general

#: What the file is compared with torch under. CPUs with bfloat16 compute in it by default, which is too rough for
#: ``TOLERANCE``, and a file cannot ask for float32.
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def write_openvino(
    model: nn.Module, onnx_path: Path, path: Path, forms: Sequence[Form], facts: Mapping[str, str]
) -> tuple[Form, Agreement]:
    """Convert an ONNX file, write it, and compare it with torch.

    Args:
        model: The network, images (N, 3, H, W) to logits (N, C, H, W).
        onnx_path: The ONNX file.
        path: The ``.xml`` file; the weights are written beside it, as ``.bin``.
        forms: What the ONNX file takes and less, the most general one first.
        facts: Key and text of the notes in the file.

    Returns:
        Which inputs the model takes, and how far it is from torch.

    Raises:
        ConfigError: No form could be converted and agrees with torch.
    """

    def write(form: Form) -> Agreement:
        _convert(onnx_path, path, form, facts)
        return _agreement(model, path, form)

    try:
        return most_general(forms, write, "OpenVINO")
    except ConfigError:
        for part in (path, path.with_suffix(".bin")):
            part.unlink(missing_ok=True)
        raise


def _convert(onnx_path: Path, path: Path, form: Form, facts: Mapping[str, str]) -> None:
    network = openvino.Core().read_model(os.fspath(onnx_path))
    batch, height, width = form.shapes[0]
    sizes = enumerate((batch, 3, height, width))
    network.reshape(openvino.PartialShape([-1 if i in form.dynamic else n for i, n in sizes]))
    for key, text in facts.items():
        network.set_rt_info(text, ["mmsemi", key])
    openvino.save_model(network, os.fspath(path), compress_to_fp16=False)


def _agreement(model: nn.Module, path: Path, form: Form) -> Agreement:
    settings = {**EXACT, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(os.fspath(path), "CPU", settings)

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(compiled(images.numpy())["logits"])

    return compare(model, run, form.shapes)
