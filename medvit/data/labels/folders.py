"""One folder per class: `root/<class>/<image>`; images beside the folders are unlabelled."""

from __future__ import annotations

from pathlib import Path

from medvit.data.labels.label_set import ImageLabels, LabelSet, Problem, image_files
from medvit.data.manifest import SPLITS, ManifestRow


def read_folders(root: Path) -> LabelSet:
    """Return images with the name of their folder as label.

    Folders named train, val and test on top hold one split each. A class with a single
    image is named, and so is a file of zero bytes.
    """
    images, problems = [], []
    counts: dict[str, int] = {}
    for name in image_files(root):
        parts = name.split("/")
        split = parts[0] if len(parts) > 2 and parts[0] in SPLITS else ""
        label = "" if len(parts) == 1 or (len(parts) == 2 and parts[0] in SPLITS) else parts[-2]
        if (root / name).stat().st_size == 0:
            problems.append(Problem(name, "the file is empty: listed, but nothing can be learnt"))
        images.append(ImageLabels(ManifestRow(name, label, split, "")))
        counts[label] = counts.get(label, 0) + bool(label)
    problems += [
        Problem(label, "the class has a single image: it can be trained on or tested, not both")
        for label, count in sorted(counts.items())
        if count == 1
    ]
    return LabelSet(root, tuple(images), tuple(problems))
