# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Files by which a network runs without torch: ONNX, and OpenVINO's, which is made from it.

What writes them needs packages that are optional, so it is imported when it is asked for.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from ..errors import InstallationError
from .agreement import Agreement, Form, forms_at

ONNX_FILE = "net.onnx"
#: The network; its weights lie beside it.
OPENVINO_FILE, OPENVINO_WEIGHTS_FILE = "net.xml", "net.bin"


def check_packages(onnx: bool, openvino: bool) -> None:
    """Refuse what the installed packages cannot write; they are optional.

    Raises:
        InstallationError: One is missing.
    """
    needed = {"--onnx": ["onnx", "onnxruntime"], "--openvino": ["onnx", "onnxruntime", "openvino"]}
    for option, is_on in (("--onnx", onnx), ("--openvino", openvino)):
        missing = [name for name in needed[option] if is_on and find_spec(name) is None]
        if missing:
            raise InstallationError(
                f"{option} needs {' and '.join(missing)}: pip install {' '.join(missing)}"
            )


def write_runtime_files(
    net: nn.Module,
    folder: Path,
    shape: tuple[int, int],
    facts: dict[str, object],
    onnx: bool,
    openvino: bool,
) -> tuple[str | None, str | None]:
    """The network for ONNX Runtime, OpenVINO or both, each compared with torch.

    Args:
        net: The plain segmentor.
        folder: Where the files are written.
        shape: Height and width of the traced input.
        facts: Notes in the files; what is None is left out.
        onnx: Whether the ONNX file is kept: the OpenVINO model is made from it.
        openvino: Whether the OpenVINO model is written.

    Returns:
        For each, which inputs it takes and how far it is from torch; None if it was not asked for.
    """
    from .onnx_file import Logits, one_size_part, write_onnx

    model, part = Logits(net, shape), one_size_part(net)
    texts = {key: json.dumps(value) for key, value in facts.items() if value is not None}
    note = f"; {part} has positions of one size in a file: write another one for each size"

    def line(form: Form, agreement: Agreement) -> str:
        return f"takes {form.takes}; {agreement}{note if part else ''}"

    path = folder / ONNX_FILE
    form, agreement = write_onnx(model, path, shape, texts)
    lines = [line(form, agreement) if onnx else None, None]
    if openvino:
        from .openvino_file import write_openvino

        forms = forms_at(shape, any_size=part is None)
        forms = forms[forms.index(form) :]
        lines[1] = line(*write_openvino(model, path, folder / OPENVINO_FILE, forms, texts))
        lines[1] += "; compared in float32, which OpenVINO uses with INFERENCE_PRECISION_HINT=f32"
    if not onnx:
        path.unlink()
    return tuple(lines)
