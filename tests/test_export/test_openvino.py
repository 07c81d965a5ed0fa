# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Models of OpenVINO: they give what torch gives, or there are none."""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_nets import VIT

from mmsemi.cli.export import main
from mmsemi.errors import ConfigError, InstallationError
from mmsemi.export import export_segmentor
from mmsemi.export.agreement import Agreement, compare, forms_at
from mmsemi.export.runtimes import write_runtime_files

REPOSITORY = Path(__file__).resolve().parents[2]
PLAIN_FILES = ["config.py", "requirements.txt", "weights.pth"]


@pytest.fixture
def openvino():
    """OpenVINO; the exporter's other packages are there, too."""
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    return pytest.importorskip("openvino", reason="openvino is not installed")


def run_exactly(openvino, path: Path, images: torch.Tensor) -> torch.Tensor:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    net = openvino.Core().compile_model(str(path), "CPU", settings)
    return torch.from_numpy(np.array(net(images.numpy())["logits"]))


@torch.no_grad()
def logits(net: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    metas = [dict(ori_shape=images.shape[-2:], img_shape=images.shape[-2:])] * len(images)
    return net.eval().encode_decode(images, metas)


def test_it_agrees_with_torch_at_other_sizes(openvino, make_run, tmp_path):
    path, config = make_run()
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["branches.0.decode_head.conv_seg.weight"].normal_()  # several classes
    torch.save(checkpoint, path)
    result = export_segmentor(path, tmp_path / "out", openvino=True)
    assert result.onnx is None
    assert result.openvino.startswith("takes any batch and image size; largest difference")
    assert result.openvino.endswith("with INFERENCE_PRECISION_HINT=f32")
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert names == sorted([*PLAIN_FILES, "net.bin", "net.xml"])

    images = torch.randn(3, 3, 50, 70)
    semi = MODELS.build(config.model)
    semi.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    with semi.predicting_on(0):
        expected = logits(semi, images)
    found = run_exactly(openvino, tmp_path / "out/net.xml", images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (found.argmax(1) == expected.argmax(1)).float().mean() >= 0.9999
    assert len(expected.argmax(1).unique()) > 1

    network = openvino.Core().read_model(str(tmp_path / "out/net.xml"))
    facts = {
        key: json.loads(network.get_rt_info(["mmsemi", key]).astype(str))
        for key in ("mean", "std", "bgr_to_rgb", "classes")
    }
    assert facts == dict(
        mean=[120.0, 110.0, 100.0],
        std=[60.0, 55.0, 50.0],
        bgr_to_rgb=True,
        classes=["background", "left", "right"],
    )


def test_both_files_may_be_asked_for(openvino, make_run, tmp_path, capsys):
    path, _ = make_run()
    main([str(path), str(tmp_path / "out"), "--onnx", "--openvino", "--shape", "32", "48"])
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert names == sorted([*PLAIN_FILES, "net.bin", "net.onnx", "net.xml"])
    printed = capsys.readouterr().out
    assert "net.onnx: takes any batch" in printed
    assert "net.xml and its weights: takes any batch" in printed


def test_a_transformer_takes_one_size(openvino, tmp_path):
    init_default_scope("mmseg")
    torch.manual_seed(0)
    net = MODELS.build(VIT).eval()
    onnx, line = write_runtime_files(net, tmp_path, (32, 48), {}, onnx=False, openvino=True)
    assert onnx is None and sorted(p.name for p in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    assert line.startswith("takes any batch, images of 32x48 only; largest difference")
    assert "DINOv3 has positions of one size" in line
    images = torch.randn(2, 3, 32, 48)
    expected = logits(net, images)
    found = run_exactly(openvino, tmp_path / "net.xml", images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(RuntimeError):
        run_exactly(openvino, tmp_path / "net.xml", torch.randn(2, 3, 48, 32))


def test_numbers_that_differ_are_refused(openvino, make_run, tmp_path, monkeypatch):
    """As those of float16 weights do, which OpenVINO would store."""
    save = openvino.save_model
    rounded = functools.partial(save, compress_to_fp16=True)
    monkeypatch.setattr(
        "mmsemi.export.openvino_file.openvino.save_model",
        lambda network, path, compress_to_fp16: rounded(network, path),
    )
    path, _ = make_run()
    with pytest.raises(ConfigError, match=r"no OpenVINO form at 32x48: largest difference .*e-0"):
        export_segmentor(path, tmp_path / "out", openvino=True, onnx=True, shape=(32, 48))
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_export_leaves_the_earlier_one(openvino, make_run, tmp_path, monkeypatch):
    path, _ = make_run()
    out = tmp_path / "out"
    export_segmentor(path, out, net=0, openvino=True)
    before = {entry: entry.read_bytes() for entry in out.iterdir()}

    def interrupt(model, path, form):
        assert path.is_file() and path.with_suffix(".bin").is_file()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmsemi.export.openvino_file._agreement", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export_segmentor(path, out, net=1, openvino=True, force=True)
    assert {entry: entry.read_bytes() for entry in out.iterdir()} == before

    export_segmentor(path, out, net=1, openvino=True, force=True)
    assert before[out / "net.bin"] != (out / "net.bin").read_bytes()
    notes = export_segmentor(path, out, net=1, force=True).notes
    assert sorted(entry.name for entry in out.iterdir()) == PLAIN_FILES
    removed = [note for note in notes if "of the earlier export is removed" in note]
    assert [Path(note.split()[0]).name for note in removed] == ["net.bin", "net.xml"]


KILLED = """
import os, signal, sys
from mmsemi.export import export_segmentor, openvino_file
openvino_file._agreement = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
export_segmentor(sys.argv[1], "out", openvino=True)
"""


@pytest.mark.slow
def test_a_killed_export_leaves_no_file_and_is_not_in_the_way(openvino, make_run, tmp_path):
    path, _ = make_run()
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)])
    command = [sys.executable, "-c", KILLED, str(path)]
    done = subprocess.run(command, cwd=tmp_path, env=env, timeout=240)
    assert done.returncode == -signal.SIGKILL
    assert [entry for entry in (tmp_path / "out").iterdir() if entry.is_file()] == []
    export_segmentor(path, tmp_path / "out", openvino=True)
    assert (tmp_path / "out/net.xml").is_file() and (tmp_path / "out/net.bin").is_file()


def test_a_missing_package_is_named_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "mmsemi.export.runtimes.find_spec", lambda name: None if name == "openvino" else 1
    )
    with pytest.raises(InstallationError) as error:
        main([str(tmp_path / "absent.pth"), str(tmp_path / "out"), "--openvino"])
    assert str(error.value) == "--openvino needs openvino: pip install openvino"
    assert not (tmp_path / "out").exists()


# --- Agreement ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "differing", "holds"),
    [(1e-4, 0, True), (2e-4, 0, False), (0.0, 1, True), (0.0, 2, False), (math.nan, 0, False)],
)
def test_agreement_is_of_logits_and_of_pixels(gap, differing, holds):
    assert Agreement(gap, differing, 10_000).holds is holds


def test_differences_are_those_of_the_worst_input():
    def wrong_in_batches(images: torch.Tensor) -> torch.Tensor:
        found = images.clone()
        if len(images) > 1:
            found[0, 0, 0, 0] += 100.0
        return found

    model = torch.nn.Identity()
    assert compare(model, model, [(1, 4, 5), (2, 4, 5)]) == Agreement(0.0, 0, 60)
    found = compare(model, wrong_in_batches, [(2, 4, 5), (1, 4, 5)])
    assert found.gap > 10 and found.differing in (0, 1) and found.pixels == 60
    nan = compare(model, lambda x: x * (math.nan if len(x) > 1 else 1), [(1, 4, 5), (2, 4, 5)])
    assert math.isnan(nan.gap) and not nan.holds
    with pytest.raises(RuntimeError, match=r"gives \(1, 3, 4, 4\) for input \(1, 3, 4, 5\)"):
        compare(model, lambda x: x[..., :4], [(1, 4, 5)])


def test_forms_go_from_any_size_to_one_input():
    forms = forms_at((32, 48), any_size=True)
    assert [form.dynamic for form in forms] == [
        {0: "batch", 2: "height", 3: "width"},
        {0: "batch"},
        {},
    ]
    assert all(form.shapes[0] == (1, 32, 48) for form in forms)
    assert len({shape[1:] for shape in forms[0].shapes}) == 3
    assert forms_at((32, 48), any_size=False) == forms[1:]
