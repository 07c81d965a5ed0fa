# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The version check accepts every working set and reports a broken one in one message."""

from __future__ import annotations

import time
from importlib import metadata

import pytest

from mmsemi import environment
from mmsemi.errors import InstallationError

STOCK = {
    "torch": "2.11.0+cpu",
    "torchvision": "0.26.0+cpu",
    "mmengine": "0.10.7",
    "mmcv-lite": "2.1.0",
    "mmsegmentation": "1.2.2",
    "mmpretrain": "1.2.0",
    "ftfy": "6.3.1",
    "regex": "2024.1.1",
}
ONEDL = {
    **{name: STOCK[name] for name in ("torch", "torchvision", "ftfy", "regex")},
    "onedl-mmengine": "0.10.12",
    "onedl-mmcv": "2.3.6",
    "onedl-mmsegmentation": "1.4.2",
    "onedl-mmpretrain": "1.3.6",
}


@pytest.fixture
def install(monkeypatch):
    """Makes a set of distributions look like the installed one."""

    def install(versions: dict[str, str], torchvision_needs: str = "2.11.0") -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        modules = {
            requirement.module
            for requirement in environment.REQUIREMENTS
            if versions.keys() & requirement.distributions.keys()
        }
        monkeypatch.setattr(environment.metadata, "version", version)
        monkeypatch.setattr(
            environment.metadata, "requires", lambda name: ["numpy", f"torch=={torchvision_needs}"]
        )
        monkeypatch.setattr(
            environment, "find_spec", lambda name: object() if name in modules else None
        )

    return install


def error_of_check() -> str:
    with pytest.raises(InstallationError) as caught:
        environment.check_environment()
    return str(caught.value)


def test_installed_environment_passes_quickly():
    started = time.perf_counter()
    environment.check_environment()
    assert time.perf_counter() - started < 0.5  # measured: 0.005; a loaded machine is slower


@pytest.mark.parametrize(
    "versions",
    [
        STOCK,
        ONEDL,
        {**{name: v for name, v in STOCK.items() if name != "mmcv-lite"}, "mmcv": "2.1.0"},
    ],
    ids=["stock", "onedl", "full mmcv"],
)
def test_working_sets_pass(install, versions):
    install(versions)
    environment.check_environment()


def test_every_problem_is_in_one_message(install):
    broken = {**STOCK, "mmcv-lite": "2.2.0", "torch": "2.4.0+cpu"}
    del broken["ftfy"], broken["mmsegmentation"]
    install(broken)
    message = error_of_check()
    assert "torch 2.4.0+cpu is too old" in message
    assert "mmcv-lite 2.2.0 is too new; needed: >=2.0,<2.2" in message
    assert "mmseg is not installed" in message
    assert "ftfy is not installed" in message
    fix = message.splitlines()[-1]
    assert "-m pip install torch==2.11.0" in fix
    for name in ("mmcv-lite==2.1.0", "mmsegmentation==1.2.2", "ftfy", "torchvision==0.26.0"):
        assert name in fix
    assert "mmpretrain" not in fix  # nothing is wrong with it


def test_two_distributions_of_one_package_are_a_problem(install):
    install({**STOCK, "mmcv": "2.1.0"})
    message = error_of_check()
    assert "mmcv 2.1.0 and mmcv-lite 2.1.0 are installed together" in message
    assert "pip uninstall -y mmcv mmcv-lite && " in message


def test_torchvision_of_another_torch_is_a_problem(install):
    install(STOCK, torchvision_needs="2.10.0")
    assert "was built for torch 2.10.0, but torch 2.11.0+cpu is installed" in error_of_check()
    install({**STOCK, "torchvision": "0.26.0"})
    assert "CPU-only build" in error_of_check()


def test_broken_installation_is_named(install, monkeypatch):
    install(STOCK)
    monkeypatch.setattr(
        environment, "find_spec", lambda name: None if name == "mmseg" else object()
    )
    assert "recorded as installed, but has no module mmseg" in error_of_check()


def test_unsupported_python_is_named(install, monkeypatch):
    install(STOCK)
    monkeypatch.setattr(environment, "PYTHON_BOUNDS", ((3, 9), (3, 9)))
    assert ">=3.10,<3.14" in error_of_check()


def test_release_numbers():
    assert environment.parse_release("2.11.0+cpu") == environment.parse_release("2.11") == (2, 11)
    assert environment.parse_release("2.0.0rc4") < environment.parse_release("2.1")
    assert environment.parse_release("0.10.7") < environment.parse_release("0.10.12")
