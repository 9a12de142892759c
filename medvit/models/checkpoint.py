"""Weights files that others made: read without running anything, kept as safetensors."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medvit.errors import ModelError
from medvit.models.monai_weights import LoadReport, unwrap
from medvit.models.swin3d import Merging
from medvit.models.weights import file_sha256

MOST_BYTES = 4 << 30
"""The largest published SwinUNETR checkpoint, optimiser included, has under 1 GiB."""

SAFE = ".safetensors"


class LoadsMonai(Protocol):
    """A network that takes weights in MONAI's layout: `Swin3d`, `SwinUnetr`."""

    def load_monai(self, state_dict: Mapping[str, Tensor], *, merging: Merging) -> LoadReport:
        """Load the weights whole, or raise ValueError."""


def load_foreign(
    network: LoadsMonai, path: Path, *, merging: Merging, sha256: str = ""
) -> LoadReport:
    """Fill a network with the weights of a file that somebody else made.

    Args:
        merging: Order of patch merging the weights were trained with: `pre1.5` for all that
            were published before 2025. The file does not say.

    Raises:
        ModelError: If the file is refused by `read_checkpoint`, or does not match.
    """
    try:
        return network.load_monai(read_checkpoint(path, sha256=sha256), merging=merging)
    except ValueError as error:
        msg = f"{path.name}: {error}"
        raise ModelError(msg, hint="build the network with the sizes of the file") from error


def read_checkpoint(
    path: Path, *, sha256: str = "", most_bytes: int = MOST_BYTES
) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors`, `.pt`, `.pth` or `.ckpt` file by name.

    Nothing in the file is run: pickles may only build tensors and plain containers.

    Args:
        sha256: Refuse any other file, if given. Only then a file of torch before 1.6 is read,
            whose size in memory nothing tells beforehand.
        most_bytes: Bound on the file, and on what it unpacks to.

    Raises:
        ModelError: If the file is missing, too large, another one than was asked for,
            damaged, hostile, or holds no tensors.
    """
    _check_file(path, sha256=sha256, most_bytes=most_bytes)
    if path.suffix == SAFE:
        content = _read_safe(path)
    else:
        if not sha256 or zipfile.is_zipfile(path):
            _check_archive(path, most_bytes=most_bytes)
        content = _read_torch(path)
    if not isinstance(content, Mapping):
        msg = f"{path.name}: a weights file holds tensors by name, this one a {_kind(content)}"
        raise ModelError(msg, hint="save the state_dict of the network, not the network")
    tensors = {str(key): value for key, value in unwrap(content).items() if _is_tensor(value)}
    if not tensors:
        msg = f"{path.name}: no tensors among its {len(content)} entries"
        raise ModelError(msg, hint="the tensors stand at the top, in 'state_dict' or in 'model'")
    unpacked = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if unpacked > most_bytes:
        msg = f"{path.name}: tensors of {unpacked} bytes, but at most {most_bytes} are unpacked"
        raise ModelError(msg, hint="the file is damaged or hostile")
    return tensors


def convert_checkpoint(source: Path, target: Path, *, sha256: str = "") -> int:
    """Write the tensors of a foreign file as safetensors, and return their number.

    Raises:
        ModelError: If the source is refused, or the target exists.
    """
    if target.exists():
        msg = f"{target} exists, and weights are never overwritten"
        raise ModelError(msg, hint="choose another name")
    tensors = read_checkpoint(source, sha256=sha256)
    # Tensors that share memory are written once each: safetensors knows no sharing.
    own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(own, target)
    return len(own)


def _check_file(path: Path, *, sha256: str, most_bytes: int) -> None:
    if not path.is_file():
        msg = f"{path}: no such weights file"
        raise ModelError(msg)
    found = path.stat().st_size
    if found > most_bytes:
        msg = f"{path.name}: {found} bytes, but at most {most_bytes} are read"
        raise ModelError(msg)
    if sha256 and (actual := file_sha256(path)) != sha256.lower():
        msg = f"{path.name}: sha256 {actual[:12]} is not the expected {sha256[:12].lower()}"
        raise ModelError(msg, hint="the file was altered or is another one; fetch it anew")


def _read_safe(path: Path) -> Any:
    try:
        return load_file(path)
    except SafetensorError as error:
        msg = f"{path.name}: not a whole safetensors file ({error})"
        raise ModelError(msg) from error


def _check_archive(path: Path, *, most_bytes: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        msg = f"{path.name}: not a whole file in the format of torch >= 1.6 ({error})"
        raise ModelError(msg, hint="load it where it was made and save it again") from error
    if unpacked > most_bytes:
        msg = f"{path.name}: unpacks to {unpacked} bytes, but at most {most_bytes} are read"
        raise ModelError(msg)


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle makes the reader raise anything
        msg = f"{path.name}: refused, it holds more than tensors or is damaged"
        raise ModelError(msg, hint="save the state_dict of the network alone") from error


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided


def _kind(content: object) -> str:
    return type(content).__name__
