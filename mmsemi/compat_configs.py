# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How mmengine reads and writes configs.

1. Only a Python file that the user names is code. A config given as text, such as the one in a
   checkpoint, is read as literals; YAML and JSON files make plain values only, and their types must be
   registered. See :mod:`mmsemi.utils.data_config`.
2. A config's text is formatted once, not again at each checkpoint.
3. Package-name configs (``_base_ = 'mmseg::...'``, ``'mmsemi::...'``, ``mmengine.hub.get_config``)
   are resolved with ``importlib`` instead of ``pkg_resources``, which setuptools dropped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config, config
from mmengine.fileio.handlers import PickleHandler, yaml_handler

from mmsemi.errors import ConfigError
from mmsemi.utils import close_matches
from mmsemi.utils.data_config import check_data, read_stored_config
from mmsemi.utils.files import path_below
from mmsemi.utils.plain_pickles import load_plain_pickle


def apply() -> None:
    """Installs all three."""
    read_as_data()
    format_once()
    patch_package_configs()


# --- Data -----------------------------------------------------------------------------------------


class PlainYamlLoader(yaml.SafeLoader):
    """YAML's plain values, and the tuples that mmengine writes."""


PlainYamlLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple",
    lambda loader, node: tuple(loader.construct_sequence(node, deep=True)),
)


def read_as_data() -> None:
    """Makes mmengine's readers of texts, YAML, JSON and pickles run nothing."""
    Config.fromstring = staticmethod(read_text)
    yaml_handler.Loader = PlainYamlLoader
    PickleHandler.load_from_fileobj = lambda self, file, **_: load_plain_pickle(
        file, getattr(file, "name", "of the config")
    )
    stock = Config._file2dict

    @functools.wraps(stock)
    def file2dict(filename: str, *args: Any, **kwargs: Any) -> Any:
        if not str(filename).endswith(".py"):
            check_file(filename)
        return stock(filename, *args, **kwargs)

    Config._file2dict = staticmethod(file2dict)


def read_text(cfg_str: str, file_format: str = ".py") -> Config:
    """Replaces ``Config.fromstring``: the text as data, Python's literals or JSON or YAML.

    Raises:
        ConfigError: It is something else, or has a type that nothing registers.
    """
    if file_format == ".py":
        return Config(read_stored_config(cfg_str, "the config given as text")[0])
    values = _plain_values(cfg_str, "the config given as text")
    return Config({key: value for key, value in values.items() if key != "custom_imports"})


def check_file(path: str) -> None:
    """Checks a YAML or JSON config before mmengine reads it.

    Raises:
        ConfigError: It holds other than plain values, has a type that nothing registers, imports
            modules, or inherits from a Python file outside of the installed packages.
    """
    where = f"config '{path}'"
    values = _plain_values(Path(path).expanduser().read_text(encoding="utf-8"), where)
    if values.get("custom_imports"):
        raise ConfigError(
            f"{where} is no Python file and must not import: custom_imports={values['custom_imports']}"
        )
    bases = values.get("_base_") or []
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or (base.endswith(".py") and "::" not in base):
            raise ConfigError(
                f"{where} is no Python file and must not run one: _base_='{base}' (a config of an "
                "installed package, 'mmseg::...', or another YAML or JSON file can be the base)"
            )


def _plain_values(text: str, where: str) -> dict[str, Any]:
    """The content of a YAML or JSON text (JSON is YAML, too)."""
    try:
        values = yaml.load(text, PlainYamlLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{where} is no YAML or JSON of plain values: {reason[:300]}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{where} holds no settings")
    check_data(values, where)
    return values


# --- Formatting -----------------------------------------------------------------------------------


def format_once() -> None:
    """Keeps the texts that yapf has formatted: ``Config.pretty_text`` is asked for at each save."""
    if not hasattr(config, "FormatCode"):
        return  # OneDL's does not format
    stock: Callable = config.FormatCode

    @functools.lru_cache(maxsize=8)
    def format_text(text: str, style: tuple, options: tuple) -> tuple[str, bool]:
        return stock(text, style_config=dict(style), **dict(options))

    def format_code(text: str, style_config: dict, **options: Any) -> tuple[str, bool]:
        return format_text(text, tuple(style_config.items()), tuple(options.items()))

    config.FormatCode = format_code


# --- Package-name configs -------------------------------------------------------------------------


def patch_package_configs() -> None:
    """Resolves ``'package::path'`` with importlib and teaches mmengine the package mmsemi."""
    from mmengine import hub, utils
    from mmengine.config import utils as config_utils
    from mmengine.hub import hub as hub_module
    from mmengine.utils import package_utils

    replacements = {
        "is_installed": is_installed,
        "get_installed_path": get_installed_path,
        "package2module": find_module_name,
        "_get_external_cfg_base_path": find_package_config,
        "_get_external_cfg_path": find_package_config,
    }
    for module in (package_utils, utils, config_utils, config, hub_module, hub):
        for name in replacements.keys() & vars(module).keys():
            setattr(module, name, replacements[name])
    config_utils.MODULE2PACKAGE.setdefault("mmsemi", "mmsemi")

    stock_cfg_path = Config._get_cfg_path
    stock_metainfo = config_utils._get_cfg_metainfo

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        path, scope = stock_cfg_path(cfg_path, filename)
        # mmsemi has no registries of its own, everything is in mmseg's.
        return path, "mmseg" if scope == "mmsemi" else scope

    def get_cfg_metainfo(package_path: str, cfg_path: str) -> dict:
        if (Path(package_path) / ".mim").is_dir():
            return stock_metainfo(package_path, cfg_path)
        raise ValueError("a source checkout has no index")  # get_config then looks for the file

    Config._get_cfg_path = staticmethod(get_cfg_path)
    config_utils._get_cfg_metainfo = hub_module._get_cfg_metainfo = get_cfg_metainfo


def find_module_name(package: str) -> str:
    """Returns the import name of a distribution: 'mmsegmentation' -> 'mmseg'."""
    from mmengine.config.utils import MODULE2PACKAGE

    for module, distribution in MODULE2PACKAGE.items():
        if package in (distribution, f"onedl-{distribution}"):
            return module
    try:
        modules = (metadata.distribution(package).read_text("top_level.txt") or "").split()
    except metadata.PackageNotFoundError:
        modules = []
    return modules[0] if modules else package.replace("-", "_")


def is_installed(package: str) -> bool:
    """Returns whether a distribution or module of this name is there (OneDL's forks included)."""
    try:
        metadata.distribution(package)
        return True
    except metadata.PackageNotFoundError:
        spec = find_spec(find_module_name(package))
        return spec is not None and spec.origin is not None


def get_installed_path(package: str) -> str:
    """Returns the folder of the module that a distribution installs.

    Raises:
        ModuleNotFoundError: There is no such module.
    """
    module = find_module_name(package)
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed (there is no module {module})")
    return str(Path(spec.origin).parent)


def find_package_config(package_path: str, cfg_name: str) -> str:
    """Returns the path of a config of an installed package or of a source checkout.

    Raises:
        FileNotFoundError: No such config; the message names close matches.
    """
    package = Path(package_path)
    roots = [package / ".mim" / "configs", package.parent / "configs"]
    for root in roots:
        path = path_below(root, cfg_name)
        if path.is_file():
            return str(path)
    known = [str(path.relative_to(root)) for root in roots for path in root.glob("**/*.py")]
    hint = close_matches(cfg_name, known)
    raise FileNotFoundError(f"{package.name}::{cfg_name}: no such config{hint}")
