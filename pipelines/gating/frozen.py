"""The cases that no model is trained on: the same ones for every comparison."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medvit.data.manifest import read_manifest
from medvit.errors import InputError
from pipelines.evaluating.classification import Split, true_label
from pipelines.gating.frozen_boxes import FrozenBoxes

if TYPE_CHECKING:
    from medvit.data.annotated import AnnotatedScan


@dataclass(frozen=True, slots=True)
class FrozenImage:
    """One labelled image.

    Attributes:
        path: Relative to `FrozenImages.root`.
        label: What it shows.
        group: Images of one group are drawn together; an image without one is its own.
    """

    path: str
    label: str
    group: str


@dataclass(frozen=True, slots=True)
class FrozenImages:
    """Labelled images to compare classifiers on.

    Attributes:
        name: For people; no path.
        root: What paths are relative to.
        cases: In the order of the manifest.
        sha256: Of paths, labels, groups and the bytes of the files.
    """

    name: str
    root: Path
    cases: tuple[FrozenImage, ...]
    sha256: str

    @property
    def groups(self) -> tuple[str, ...]:
        """Of each image."""
        return tuple(image.group or image.path for image in self.cases)

    @property
    def named_groups(self) -> tuple[str, ...]:
        """Groups that the manifest names."""
        return tuple(image.group for image in self.cases if image.group)


@dataclass(frozen=True, slots=True, eq=False)
class FrozenScans:
    """Annotated scans to compare nodule detectors on.

    Attributes:
        name: For people; no path.
        cases: Scans with every nodule that readers marked.
        sha256: Of series, patients, marks and the names and sizes of the files.
    """

    name: str
    cases: tuple[AnnotatedScan, ...]
    sha256: str

    @property
    def groups(self) -> tuple[str, ...]:
        """The patient of each scan."""
        return tuple(scan.patient or scan.name for scan in self.cases)

    @property
    def named_groups(self) -> tuple[str, ...]:
        """Patients that are known."""
        return tuple(scan.patient for scan in self.cases if scan.patient)


FrozenCases = FrozenImages | FrozenScans | FrozenBoxes


def frozen_images(
    manifest: Path, *, split: Split = "test", root: Path | None = None
) -> FrozenImages:
    """Return the labelled images of a split of a manifest.

    Args:
        root: What paths are relative to; else the manifest's folder.

    Raises:
        InputError: If the split has no labelled image, or a file is missing.
        ConfigError: If the manifest breaks its rules.
    """
    read, folder = read_manifest(manifest), root or manifest.parent
    labelled = [(row, true_label(read, row)) for row in read.of(split)]
    images = tuple(FrozenImage(row.path, label, row.group) for row, label in labelled if label)
    if not images:
        msg = f"{manifest.name}: split {split} has no labelled image to compare models on"
        raise InputError(msg, hint="choose another --split, or label images")
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.path}\0{image.label}\0{image.group}\0".encode())
        digest.update(hashlib.sha256(_bytes_of(folder / image.path, manifest)).digest())
    return FrozenImages(f"{manifest.name}, split {split}", folder, images, digest.hexdigest())


def frozen_scans(name: str, scans: tuple[AnnotatedScan, ...]) -> FrozenScans:
    """Return annotated scans as frozen cases.

    Args:
        name: For people; no path.
        scans: At least one.

    Raises:
        InputError: If there is none.
    """
    if not scans:
        msg = f"{name}: there is no scan to compare models on"
        raise InputError(msg, hint="name a folder of annotated scans")
    digest = hashlib.sha256()
    for scan in scans:
        digest.update(f"{scan.name}\0{scan.patient}\0".encode())
        digest.update(scan.nodules.tobytes() + b"\0" + scan.ignored.tobytes())
        for file in scan.case.files:
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
    return FrozenScans(name, scans, digest.hexdigest())


def _bytes_of(file: Path, manifest: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        msg = f"{manifest.name}: {file} cannot be read ({error.strerror})"
        raise InputError(msg, hint="name what paths are relative to with --root") from error
