"""A few real images of steel strip that travel with the package, with their licence."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

from medvit import atomic

FOLDER = Path(__file__).parent / "samples" / "xsdd"
TERMS = ("LICENSE", "NOTICE")
SUFFIXES = frozenset({".png", ".jpg"})


def sample_images() -> tuple[Path, ...]:
    """Return the images, two of each X-SDD class; the folder of each is its class.

    Examples:
        >>> len(sample_images()), len({path.parent.name for path in sample_images()})
        (14, 7)
    """
    return tuple(sorted(path for path in FOLDER.glob("*/*") if path.suffix in SUFFIXES))


def write_samples(folder: Path) -> tuple[Path, ...]:
    """Copy images and terms, and write `manifest.csv`; return the copies.

    Raises:
        OSError: If the folder cannot be written.
    """
    copies = []
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group"])
    for image in sample_images():
        name = image.relative_to(FOLDER)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, folder / name)
        writer.writerow([name.as_posix(), image.parent.name, "test", name.as_posix()])
        copies.append(folder / name)
    for term in TERMS:
        shutil.copyfile(FOLDER / term, folder / term)
    atomic.write_text(folder / "manifest.csv", text.getvalue())
    return tuple(copies)
