"""Where the files that travel with the package are: configs and shipped weights."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def configs_folder() -> Path:
    """Return the folder of shipped configs: in the wheel, or beside the package in a checkout.

    Examples:
        >>> configs_folder().name
        'configs'
    """
    here = PACKAGE / "configs"
    beside = PACKAGE.parent / "configs"
    return here if here.is_dir() else beside


def weights_folder() -> Path:
    """Return the folder of shipped models, one folder a model."""
    return PACKAGE / "weights"
