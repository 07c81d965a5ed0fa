# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Package metadata. Configs, lists, tools and the model index travel in the wheel as ``mmsemi/.mim``."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_ENTRIES = ("configs", "splits", "tools", "model-index.yml")


class BuildWithMim(build_py):
    """Copies the OpenMMLab extension data into the build, but for an editable install."""

    def run(self) -> None:
        super().run()
        if getattr(self, "editable_mode", False):
            return
        target = Path(self.build_lib) / "mmsemi" / ".mim"
        shutil.rmtree(target, ignore_errors=True)
        for entry in MIM_ENTRIES:
            source = ROOT / entry
            if source.is_dir():
                shutil.copytree(
                    source, target / entry, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
                )
            elif source.is_file():
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target / entry)


def read_requirements(name: str) -> list[str]:
    """Returns the requirements of ``requirements/<name>.txt`` without comments."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def read_version() -> str:
    """Returns the version without importing the package, which would need torch."""
    text = (ROOT / "mmsemi" / "version.py").read_text(encoding="utf-8")
    return re.search(r'__version__ = "(.+?)"', text)[1]


def read_description() -> str:
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.is_file() else ""


setup(
    name="mmsemi",
    version=read_version(),
    description="Semi-supervised semantic segmentation for mmsegmentation",
    long_description=read_description(),
    long_description_content_type="text/markdown",
    author="mmsemi authors",
    license="Apache-2.0",
    keywords="semi-supervised learning, semantic segmentation, OpenMMLab",
    packages=find_packages(include=["mmsemi", "mmsemi.*"]),
    package_data={"mmsemi": ["**/*.json", "**/*.txt", "**/*.yml", "**/*.html"]},
    # 3.14 removes pkgutil.find_loader, which mmengine calls for every run on a single device.
    python_requires=">=3.10,<3.14",
    install_requires=read_requirements("runtime"),
    extras_require={
        "mim": read_requirements("mminstall"),
        "onedl": read_requirements("onedl"),
        "openmmlab": read_requirements("openmmlab"),
        "optional": read_requirements("optional"),
        "tests": read_requirements("tests"),
    },
    entry_points={"console_scripts": ["mmsemi=mmsemi.cli:main"]},
    cmdclass={"build_py": BuildWithMim},
    zip_safe=False,
    classifiers=[
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
