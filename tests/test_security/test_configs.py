# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Configs that are data, in checkpoints and in YAML and JSON files: nothing that they name is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from attempts import Runs, World
from mmengine.config import Config
from mmseg.apis import MMSegInferencer
from mmseg.registry import MODELS

from mmsemi.export import export_segmentor
from mmsemi.utils.config_files import load_config
from mmsemi.utils.data_config import check_data, read_stored_config

# --- The config in a checkpoint -------------------------------------------------------------------
# What is put into the config of a run, and the place: the whole text, or a setting by its name.

TEXT = {
    "a statement": "import os\nos.system('{shell}')",
    "a call": "x = __import__('os').system('{shell}')",
    "a call in a model": "model = dict(type=__import__('os').system('{shell}'))",
    "a lambda": "x = (lambda: __import__('os').system('{shell}'))()",
    "a comprehension": "x = [__import__('os').system(y) for y in ['{shell}']]",
    "an f-string": "x = f\"{{__import__('os').system('{shell}')}}\"",
    "a decorator": "@exec\nclass x: pass",
    "an attribute": "x = ().__class__.__base__",
    "a base": "_base_ = ['x.py']\nx = open('{shell}')",
    "a zero byte": "x = 1\0",
    "a list as key": "x = {{[1]: 2}}",
    "many signs": "x = " + "-" * 100_000 + "1",
    "many brackets": "x = " + "[" * 100_000 + "]" * 100_000,
    "a long sum": "x = " + "1+" * 100_000 + "1",
    "a number of a million digits": "x = " + "9" * 1_000_000,
}
TYPES = {
    "a program": ("model.type", "subprocess.run"),
    "a program deep inside": ("model.segmentor.decode_head.loss_decode.type", "subprocess.run"),
    "a module": ("model.segmentor.backbone.type", "evil_module"),
    "a function of a module": ("model.segmentor.backbone.norm_cfg.type", "evil_module.run"),
    "a scope": ("model.segmentor.type", "evil_package.Thing"),
    "a scope by its key": ("model.segmentor._scope_", "evil_package"),
    "the default scope": ("default_scope", "evil_package"),
    "a loader's function": ("test_dataloader.collate_fn", "evil_module.run"),
    "a worker's function": ("train_dataloader.worker_init_fn.type", "evil_module.run"),
    "an optimiser's constructor": ("optim_wrapper.constructor", "evil_module.run"),
    "a runner": ("runner_type", "evil_module.run"),
    "a transform": ("test_pipeline.0.type", "evil_module.run"),
    "a hook": ("custom_hooks", [dict(type="evil_module.run")]),
    "a function of a loaded package": ("model.segmentor.backbone.type", "torch.hub.load"),
    "a class's method": ("model.type", "mmseg.models.EncoderDecoder.loss"),
    "a number": ("model.segmentor.backbone.type", 3),
    "a text that a config replaces": (
        "test_pipeline.0.to_float32",
        '{{$X:\'+__import__("os").system("{shell}")+\'}}',
    ),
    "a key with a quote": (
        "test_pipeline.0.backend_args",
        {"a': __import__('os').system('{shell}'), 'b": 1},
    ),
}


def put(config: Config, key: str, value: object) -> None:
    config.merge_from_dict({key: value})


def edit(path: Path, change) -> None:
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)


def store(path: Path, text: str) -> None:
    edit(path, lambda checkpoint: checkpoint["meta"].update(cfg=text))


def use(path: Path) -> None:
    """All that an export is for: it is written, loaded as a config file, and built."""
    export_segmentor(path, "out")
    config = Config.fromfile("out/config.py")
    MODELS.build(config.model)


@pytest.mark.parametrize("case", TEXT)
def test_a_stored_config_is_literals(world: World, case):
    text = TEXT[case].format(shell=world.shell)
    world.refuses(lambda: Config.fromstring(text, ".py"))
    world.refuses(lambda: read_stored_config(text, "x.pth"), "x.pth")


@pytest.mark.parametrize("case", TYPES)
def test_types_of_a_stored_config_are_registered(make_run, world: World, case):
    path, config = make_run()
    key, value = TYPES[case]
    value = json.loads(json.dumps(value).replace("{shell}", world.shell))
    put(config, key, value)
    # With a quote in a key, mmengine's text is code; a checkpoint is written by anyone.
    text = "\n".join(f"{name} = {part!r}" for name, part in config.to_dict().items())
    store(path, text)
    world.refuses(lambda: use(path))
    world.refuses(lambda: MMSegInferencer(None, weights=str(path), device="cpu"))


def test_imports_files_and_addresses_of_a_stored_config_are_left_out(make_run, world: World):
    path, config = make_run()
    (world.here / "evil.pkl").write_bytes(b"cposix\nsystem\n(S'" + world.shell.encode() + b"'\ntR.")
    outside = str(world.root / "outside")
    backbone = config.model.segmentor.backbone
    backbone.init_cfg = dict(type="Pretrained", checkpoint="https://example.invalid/evil.pth")
    backbone.pretrained = "evil.pkl"
    config.model.segmentor.decode_head.loss_decode.class_weight = "evil.pkl"
    config.custom_imports = dict(imports=["evil_module"], allow_failed_imports=False)
    config.load_from = "evil.pkl"
    config.test_evaluator = dict(type="ResultFiles", out_dir=outside)
    config.visualizer = dict(
        type="SegLocalVisualizer",
        save_dir=outside,
        vis_backends=[dict(type="LocalVisBackend", save_dir=outside)],
    )
    config.test_dataloader.dataset.metainfo["reduce_zero_label"] = "/etc/passwd"
    config.test_dataloader.dataset.data_root = "http://example.invalid/"
    store(path, config.pretty_text)
    outcome = world.attempt(lambda: use(path))
    assert outcome.kind == "read", outcome.text
    text = (world.here / "out/config.py").read_text()
    for word in ("evil", outside, "example.invalid", "passwd"):
        assert word not in text
    outcome = world.attempt(lambda: MMSegInferencer(None, weights=str(path), device="cpu"))
    assert outcome.kind == "read", outcome.text


def cyclic(checkpoint: dict) -> None:
    loop: list = []
    loop.append(loop)
    checkpoint["meta"]["dataset_meta"] = dict(classes=loop)


CONTENTS = {
    "a weight that is a text": lambda c: c["state_dict"].update({"branches.0.x": "text"}),
    "a sparse weight": lambda c: c["state_dict"].update(
        {"branches.0.decode_head.conv_seg.bias": torch.zeros(3).to_sparse()}
    ),
    "a name that is a number": lambda c: c["state_dict"].update({7: torch.zeros(1)}),
    "notes that are a list": lambda c: c.update(meta=[1]),
    "classes that are a number": lambda c: c["meta"].update(dataset_meta=7),
    "classes in themselves": cyclic,
    "a model that is a text": lambda c: c["meta"].update(cfg="model = 'segmentor'"),
    "a model of texts": lambda c: c["meta"].update(cfg="model = dict(segmentor='x', type='CPS')"),
    "a hundred billion classes": lambda c: c["meta"].update(
        cfg=c["meta"]["cfg"].replace("num_classes=3", "num_classes=100000000000")
    ),
    "arguments that are none": lambda c: c["meta"].update(
        cfg=c["meta"]["cfg"].replace("depth=18", "depth='x'")
    ),
    "code beside the weights": lambda c: c.update(x=Runs(exec, "import evil_module")),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_other_contents_are_one_line(make_run, world: World, case):
    path, _ = make_run()
    edit(path, CONTENTS[case])
    world.refuses(lambda: use(path))


def test_names_of_files_and_networks_are_no_code(make_run, world: World):
    path, _ = make_run()
    odd = {"branches.0\nimport evil_module\n#.x": torch.zeros(1)}
    edit(path, lambda checkpoint: checkpoint["state_dict"].update(odd))
    named = path.rename(world.here / "x\nimport evil_module\n#.pth")
    assert world.attempt(lambda: use(named)).kind == "read"


def test_an_exported_checkpoint_is_data_again(make_run, world: World):
    path, _ = make_run()
    export_segmentor(path, world.here / "plain")
    weights = world.here / "plain/weights.pth"
    good = world.attempt(lambda: MMSegInferencer(None, weights=str(weights), device="cpu"))
    assert good.kind == "read", good.text
    store(weights, f"import os\nos.system('{world.shell}')")
    world.refuses(lambda: MMSegInferencer(None, weights=str(weights), device="cpu"))
    store(weights, "model = dict(type='subprocess.run', args=['touch', 'x'])")
    world.refuses(
        lambda: MMSegInferencer(None, weights=str(weights), device="cpu"), "subprocess.run"
    )


# --- YAML and JSON files --------------------------------------------------------------------------

FILES = {
    "apply.yaml": "x: !!python/object/apply:os.system ['{shell}']",
    "new.yml": "x: !!python/object/new:subprocess.Popen [['touch', '{mark}']]",
    "name.yaml": "x: !!python/name:evil_module.run",
    "module.yaml": "x: !!python/module:evil_module",
    "merge.yaml": "<<: !!python/object/apply:os.system ['{shell}']",
    "imports.yaml": "custom_imports: {{imports: [evil_module], allow_failed_imports: false}}",
    "type.yaml": "model: {{type: subprocess.run, args: [touch, '{mark}']}}",
    "deep.yaml": "a: [{{b: [{{type: evil_module.run}}]}}]",
    "scope.yaml": "model: {{type: CPS, _scope_: evil_package}}",
    "runner.yaml": "runner_type: evil_module.run",
    "python_base.yaml": "_base_: ../bait/evil_module.py",
    "package_base.yaml": "_base_: 'mmseg::../../../../../../../../../..{bait}/evil_module.py'",
    "odd_base.yaml": "_base_: {{a: 1}}",
    "laughs.yaml": "a: &a [1,1,1,1,1,1,1,1]\n"
    + "\n".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 8)}]" for a, b in zip("abcdefghi", "bcdefghij")
    ),
    "itself.yaml": "a: &a [*a]",
    "list.yaml": "[1, 2]",
    "text.yaml": "hello",
    "binary.yaml": "\x01\x02",
    "tabs.yaml": "a:\n\t- b: [",
    "type.json": '{{"model": {{"type": "os.system", "command": "{shell}"}}}}',
    "imports.json": '{{"custom_imports": {{"imports": ["evil_module"]}}}}',
    "deep.json": '{{"a": ' + "[" * 50_000 + "]" * 50_000 + "}}",
}


def write(world: World, name: str) -> Path:
    path = world.here / name
    path.write_text(
        FILES[name].format(shell=world.shell, mark=world.mark, bait=world.root / "bait")
    )
    return path


@pytest.mark.parametrize("name", FILES)
def test_yaml_and_json_are_data(world: World, name):
    path = write(world, name)
    world.refuses(lambda: load_config(str(path)), name)
    child = world.here / "child.py"
    child.write_text(f"_base_ = './{name}'\n")
    world.refuses(lambda: load_config(str(child)))


def test_a_yaml_text_is_data(world: World):
    text = FILES["apply.yaml"].format(shell=world.shell)
    world.refuses(lambda: Config.fromstring(text, ".yaml"))


def test_what_yaml_is_for_still_works(tmp_path):
    (tmp_path / "base.yaml").write_text(
        "model: {type: EncoderDecoder}\nsize: !!python/tuple [1, 2]\n"
    )
    (tmp_path / "child.yaml").write_text("_base_: base.yaml\nmodel: {pretrained: x.pth}\n")
    config = load_config(str(tmp_path / "child.yaml"))
    assert config.model == dict(type="EncoderDecoder", pretrained="x.pth")
    assert config.size == (1, 2)
    (tmp_path / "package.json").write_text('{"_base_": "mmseg::_base_/models/fcn_r50-d8.py"}')
    assert load_config(str(tmp_path / "package.json")).model.type == "EncoderDecoder"
    config.dump(tmp_path / "again.yaml")
    assert load_config(str(tmp_path / "again.yaml")).to_dict() == config.to_dict()


def test_registered_types_by_every_name_that_mmengine_writes():
    names = ("EncoderDecoder", "mmseg.EncoderDecoder", "mmseg.models.EncoderDecoder", "CPS")
    for name in (*names, "mmsemi.models.segmentors.CPS", "torch.nn.modules.activation.ReLU"):
        check_data(dict(model=[dict(type=name)]), "x")
