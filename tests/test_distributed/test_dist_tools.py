# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""dist_train.sh, dist_test.sh, slurm_train.sh and slurm_test.sh as users run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SCRIPTS = ("dist_train.sh", "dist_test.sh", "slurm_train.sh", "slurm_test.sh")
# What a machine may set for its own jobs.
VARIABLES = ("NNODES", "NODE_RANK", "PORT", "MASTER_ADDR", "MASTER_PORT", "GPUS", "GPUS_PER_NODE")
VARIABLES += (
    "CPUS_PER_TASK",
    "SRUN_ARGS",
    "GRES",
    "PYTHONPATH",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
)


def environment(**variables: object) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    own.update(PYTHON=sys.executable, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    return {**own, **{key: str(value) for key, value in variables.items()}}


def run(script: Path | str, *arguments: object, cwd: Path, **variables: object):
    return subprocess.run(
        ["bash", str(TOOLS / script), *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=280,
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# --- Arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", (*SCRIPTS, "_distributed.sh"))
def test_syntax(script):
    subprocess.run(["bash", "-n", TOOLS / script], check=True)


@pytest.mark.parametrize(
    ("script", "arguments", "variables", "message"),
    [
        ("dist_train.sh", [], {}, "usage: dist_train.sh CONFIG GPUS [arguments of"),
        ("dist_train.sh", ["c.py"], {}, "usage: dist_train.sh CONFIG GPUS [arguments of"),
        ("dist_test.sh", ["c.py", "2"], {}, "usage: dist_test.sh CONFIG CHECKPOINT GPUS ["),
        ("slurm_train.sh", ["p", "j"], {}, "usage: slurm_train.sh PARTITION JOB_NAME CONFIG ["),
        ("slurm_test.sh", ["p", "j", "c"], {}, "usage: slurm_test.sh PARTITION JOB_NAME CONFIG C"),
        ("dist_train.sh", ["c.py", "two"], {}, "GPUS must be a whole number from 1 on, got 'two'"),
        ("dist_train.sh", ["c.py", "0"], {}, "GPUS must be a whole number from 1 on, got '0'"),
        (
            "dist_train.sh",
            ["c.py", "--resume"],
            {},
            "GPUS must be a whole number from 1 on, got '-",
        ),
        (
            "dist_test.sh",
            ["c.py", "2", "x.pth"],
            {},
            "GPUS must be a whole number from 1 on, got '",
        ),
        ("dist_train.sh", ["c.py", "2"], {"PYTHON": "/no python"}, "(tried: /no python): activate"),
        ("dist_train.sh", ["c.py", "2"], {"NODE_RANK": 1}, "NODE_RANK=1 must be below NNODES=1"),
        ("dist_train.sh", ["c.py", "2"], {"NNODES": "x"}, "NNODES must be a whole number from 1"),
        ("dist_train.sh", ["c.py", "2"], {"PORT": ""}, None),
    ],
)
def test_bad_input_is_one_line(script, arguments, variables, message, tmp_path):
    (tmp_path / "c.py").touch()
    if message is None:  # an empty variable is an unset one
        variables, message = {"NODE_RANK": "2", **variables}, "NODE_RANK=2 must be below NNODES=1"
    done = run(script, *arguments, cwd=tmp_path, **variables)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_wrong_config_is_explained_once(tmp_path):
    done = run("dist_train.sh", "configs/cps/shape_1-8.py", 2, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("train.py: error: ") and "configs/cps/shape_1-8.py" in line


@pytest.mark.parametrize("name", ["cps/shapes_1-8", "configs/cps/shapes_1-8.py"])
def test_a_config_of_the_project_is_found_from_any_folder(recorded, name):
    config = recorded.parent / "configs" / "cps" / "shapes_1-8.py"
    config.parent.mkdir(parents=True)
    config.touch()
    assert name in record(recorded, "dist_train.sh", name, "2")


def test_port_in_use_is_said_at_once(tmp_path):
    (tmp_path / "c.py").touch()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = run("dist_train.sh", "c.py", 2, cwd=tmp_path, PORT=port)
    assert done.returncode == 2
    assert done.stderr.startswith(f"dist_train.sh: error: port {port} is in use")


@pytest.fixture
def recorded(tmp_path) -> Path:
    """Copies of the scripts in a folder with a space, and programs that print what they get."""
    tools = tmp_path / "my checkout" / "tools"
    tools.mkdir(parents=True)
    for path in TOOLS.glob("*.sh"):
        shutil.copy(path, tools)
    for name in ("python", "srun"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            "#!/bin/bash\n[[ $1 == -c ]] && exit 0\n"
            'printf "%s\\n" "${0##*/}" "$@" "PYTHONPATH=$PYTHONPATH" "PORT=${MASTER_PORT:-}"\n'
        )
        program.chmod(0o755)
    (tmp_path / "my config.py").touch()
    (tmp_path / "x y.pth").touch()
    return tools


def record(recorded: Path, script: str, *arguments: str, **variables: object) -> list[str]:
    home = recorded.parents[1]
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    done = run(recorded / script, *arguments, cwd=home, **{"PATH": path, "PYTHON": "", **variables})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


OPTIONS = ("--cfg-options", "a=b c", "--resume")


def test_command_of_dist_train(recorded):
    lines = record(recorded, "dist_train.sh", "my config.py", "2", *OPTIONS, PORT=29876)
    assert lines == [
        *("python", "-m", "torch.distributed.run", "--nnodes=1", "--node_rank=0"),
        *("--master_addr=127.0.0.1", "--nproc_per_node=2", "--master_port=29876"),
        *(f"{recorded}/train.py", "my config.py", "--launcher", "pytorch", *OPTIONS),
        f"PYTHONPATH={recorded.parent}:",
        "PORT=",
    ]


def test_command_of_dist_test_on_the_second_node(recorded):
    variables = dict(NNODES=3, NODE_RANK=1, MASTER_ADDR="10.0.0.7", PYTHONPATH="/own code")
    lines = record(recorded, "dist_test.sh", "my config.py", "x y.pth", "8", "--tta", **variables)
    assert lines == [
        *("python", "-m", "torch.distributed.run", "--nnodes=3", "--node_rank=1"),
        *("--master_addr=10.0.0.7", "--nproc_per_node=8", "--master_port=29500"),
        *(f"{recorded}/test.py", "my config.py", "x y.pth", "--launcher", "pytorch", "--tta"),
        f"PYTHONPATH={recorded.parent}:/own code",
        "PORT=",
    ]


def test_commands_of_slurm(recorded):
    lines = record(recorded, "slurm_train.sh", "part", "my job", "my config.py", *OPTIONS)
    assert lines == [
        *("srun", "-p", "part", "--job-name=my job", "--gres=gpu:4", "--ntasks=4"),
        *("--ntasks-per-node=4", "--cpus-per-task=5", "--kill-on-bad-exit=1"),
        *("python", "-u", f"{recorded}/train.py", "my config.py", "--launcher=slurm", *OPTIONS),
        f"PYTHONPATH={recorded.parent}:",
        "PORT=",
    ]
    variables = dict(GPUS=16, GPUS_PER_NODE=8, CPUS_PER_TASK=2, GRES="", PORT=29601)
    lines = record(
        recorded,
        *("slurm_test.sh", "part", "job", "my config.py", "x y.pth"),
        **variables,
        SRUN_ARGS="--mem=4G --qos=low",
    )
    assert lines == [
        *("srun", "-p", "part", "--job-name=job", "--ntasks=16"),
        *("--ntasks-per-node=8", "--cpus-per-task=2", "--kill-on-bad-exit=1"),
        *("--mem=4G", "--qos=low", "python", "-u", f"{recorded}/test.py"),
        *("my config.py", "x y.pth", "--launcher=slurm"),
        f"PYTHONPATH={recorded.parent}:",
        "PORT=29601",
    ]


# --- Training on the CPU --------------------------------------------------------------------------


@pytest.fixture
def config(training_config, tmp_path) -> Path:
    path = tmp_path / "two processes.py"
    training_config.dump(path)
    return path


def train(config: Path, work_dir: Path, *arguments: object) -> str:
    options = ("--work-dir", work_dir, *arguments)
    done = run("dist_train.sh", config, 2, *options, cwd=config.parent, PORT=free_port())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def load(work_dir: Path, iteration: int = 4) -> dict:
    return torch.load(work_dir / f"iter_{iteration}.pth", weights_only=True)


def assert_same(a: object, b: object, where: str) -> None:
    """Bit for bit, through nested containers."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, (dict, list, tuple)):
        assert len(a) == len(b), where
        keys = a.keys() if isinstance(a, dict) else range(len(a))
        for key in keys:
            assert_same(a[key], b[key], f"{where}.{key}")
    else:
        assert a == b, where


def assert_same_runs(first: Path, second: Path) -> None:
    checkpoints = load(first), load(second)
    for key in ("state_dict", "optimizer", "param_schedulers", "random_states"):
        assert_same(checkpoints[0].get(key), checkpoints[1].get(key), key)
    assert scalars(first) == scalars(second)


def scalars(work_dir: Path) -> list[dict]:
    """Training losses and validation metrics in order, over all runs in the directory."""
    entries = []
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        entries += [json.loads(line) for line in path.read_text().splitlines()]
    timing = ("time", "data_time", "memory")
    return [{k: v for k, v in entry.items() if k not in timing} for entry in entries]


def assert_complete(output: str, work_dir: Path) -> None:
    """gloo was chosen, SyncBN replaced, both said once; both ranks' states are stored."""
    assert (
        output.count("no CUDA device: 2 processes run on the CPU with the backend gloo (env") == 1
    )
    assert len(re.findall(r"no CUDA device: \d+ SyncBN layers become BN layers", output)) == 1
    checkpoint = load(work_dir)
    first, second = checkpoint["random_states"]["ranks"]
    for states in (first, second):
        assert {"python", "numpy", "torch"} <= states.keys()
    assert not torch.equal(first["torch"], second["torch"]), "the ranks draw different numbers"
    assert all("module." not in key for key in checkpoint["state_dict"])
    logged = scalars(work_dir)
    assert sum("loss" in entry for entry in logged) == 4
    assert sum("mIoU" in entry for entry in logged) == 2


def test_two_processes_train_and_validate(config, tmp_path):
    assert_complete(train(config, tmp_path / "run"), tmp_path / "run")


@pytest.mark.slow
def test_a_mistake_is_one_line_of_each_process(config, tmp_path):
    options = ("--cfg-options", "default_hooks.invalid_loss.interval=0")
    done = run("dist_train.sh", config, 2, *options, cwd=tmp_path, PORT=free_port())
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if "interval=0" in line]
    assert len(lines) in (1, 2)  # the launcher may end the other process first
    assert all(line.startswith("train.py: error: ") for line in lines)
    assert "invalid_loss_hook.py" not in done.stderr, "no traceback"


SIGNAL_AFTER = """
import os, signal
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class SignalAfter(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == 2 and is_main_process():
            os.kill(os.getpid(), signal.SIGTERM)
"""


def interrupt(config: Path, work_dir: Path) -> None:
    """Train until the main process gets SIGTERM in iteration 2, before its validation ends."""
    (config.parent / "signal_after.py").write_text(SIGNAL_AFTER)
    text = config.read_text().replace("imports=[", "imports=['signal_after', ")
    assert "signal_after" in text
    changed = config.with_name("interrupted.py")
    changed.write_text(text + "\ncustom_hooks = [dict(type='SignalAfter')]\n")
    options = ("--work-dir", work_dir)
    variables = dict(PORT=free_port(), PYTHONPATH=config.parent)
    done = run("dist_train.sh", changed, 2, *options, cwd=config.parent, **variables)
    assert done.returncode != 0
    assert (work_dir / "last_checkpoint").exists(), done.stderr[-3000:]
    assert not (work_dir / "iter_4.pth").exists()


@pytest.mark.slow
def test_resumed_and_two_node_runs_equal_the_straight_one(config, tmp_path):
    straight, resumed, nodes = (tmp_path / name for name in ("straight", "resumed", "two nodes"))
    train(config, straight)
    interrupt(config, resumed)
    # With a worker, which changes nothing.
    train(config, resumed, "--resume", "--cfg-options", "train_dataloader.num_workers=1")
    assert_same_runs(straight, resumed)

    port, processes = free_port(), []
    for rank in (1, 0):
        command = ["bash", TOOLS / "dist_train.sh", config, "1", "--work-dir", nodes]
        variables = environment(NNODES=2, NODE_RANK=rank, PORT=port)
        processes.append(
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    outputs = [process.communicate(timeout=280)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert_complete("".join(outputs), nodes)
    assert_same_runs(straight, nodes)


@pytest.mark.slow
def test_dist_test_and_slurm_equal_one_process(config, tmp_path):
    """The metrics of two processes are those of one; Slurm's launcher, played by a script."""
    program = tmp_path / "bin" / "srun"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/bash\n"
        "while [[ $1 == -* ]]; do [[ $1 == -p ]] && shift; shift; done\n"
        "for rank in 0 1; do\n"
        '    SLURM_PROCID=$rank SLURM_LOCALID=$rank SLURM_NTASKS=2 SLURM_NODELIST=n "$@" &\n'
        "    pids+=($!)\n"
        "done\n"
        'for pid in "${pids[@]}"; do wait "$pid" || exit 1; done\n'
    )
    program.chmod(0o755)
    slurm = dict(PATH=f"{program.parent}:{os.environ['PATH']}", MASTER_ADDR="127.0.0.1", GPUS=2)
    trained = tmp_path / "trained"
    options = ("--work-dir", trained)
    done = run(
        *("slurm_train.sh", "p", "job", config, *options),
        cwd=tmp_path,
        PORT=free_port(),
        **slurm,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert_complete(done.stdout + done.stderr, trained)

    checkpoint = trained / "iter_4.pth"
    alone = [sys.executable, TOOLS / "test.py", config, checkpoint, "--work-dir", tmp_path / "1"]
    subprocess.run(alone, cwd=tmp_path, env=environment(), check=True, capture_output=True)
    options = ("--work-dir", tmp_path / "2")
    done = run(*("dist_test.sh", config, checkpoint, 2, *options), cwd=tmp_path, PORT=free_port())
    assert done.returncode == 0, done.stderr[-3000:]
    options = ("--work-dir", tmp_path / "3")
    done = run(
        *("slurm_test.sh", "p", "job", config, checkpoint, *options),
        cwd=tmp_path,
        PORT=free_port(),
        **slurm,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = []
    for name in "123":
        (path,) = (tmp_path / name).glob("*/*.json")
        result = json.loads(path.read_text())
        metrics.append({key: value for key, value in result.items() if "time" not in key})
    assert "mIoU" in metrics[0]
    assert metrics[1] == metrics[0] and metrics[2] == metrics[0]
