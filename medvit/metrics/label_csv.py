"""Predicted labels of images: `path,label,probability`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medvit.errors import InputError
from medvit.metrics.csv_lines import column_of, finite_number, iter_cells

COLUMNS = ("path", "label", "probability")


@dataclass(frozen=True, slots=True)
class PredictedLabel:
    """What a model says of an image.

    Attributes:
        path: Of the image, as `plain_path` writes it.
        label: The predicted class.
        probability: Its probability, 0..1.
        line: Where it stands in the file.
    """

    path: str
    label: str
    probability: float
    line: int


def read_labels(path: Path) -> list[PredictedLabel]:
    """Read predicted labels; other columns are not used.

    Raises:
        InputError: If the file, a column or a value is missing, a probability is not within
            0..1, or an image is there twice; names the line.
    """
    cells = iter_cells(path)
    _, heading = next(cells, (1, []))
    places = [column_of(path, heading, name, COLUMNS) for name in COLUMNS]
    found: dict[str, PredictedLabel] = {}
    for line, row in cells:
        if len(row) != len(heading):
            msg = f"{path.name}, line {line}: {len(heading)} values are expected, found {len(row)}"
            raise InputError(msg, hint="put values with commas in quotes")
        image, label, text = (row[place] for place in places)
        for name, value in (("path", image), ("label", label)):
            if not value:
                msg = f"{path.name}, line {line}: {name} must not be empty"
                raise InputError(msg, hint="give each image the label that the model chose")
        probability = finite_number(path, line, "probability", text)
        if not 0 <= probability <= 1:
            msg = f"{path.name}, line {line}: probability must be within 0..1, got {text!r}"
            raise InputError(msg, hint="give the probability of the label, no percent and no logit")
        row_of = PredictedLabel(plain_path(image), label, probability, line)
        first = found.setdefault(row_of.path, row_of)
        if first is not row_of:
            msg = f"{path.name}, line {line}: {image} has a label on line {first.line} already"
            raise InputError(msg, hint="give each image one label")
    return list(found.values())


def plain_path(path: str) -> str:
    r"""Return a path as a manifest writes it: slashes, and no `./` before it.

    Examples:
        >>> plain_path(".\\scratch\\7.png"), plain_path("./a//b.png")
        ('scratch/7.png', 'a/b.png')
    """
    return str(PurePosixPath(path.replace("\\", "/")))
