"""Two classifiers on frozen images: claims by class, and the images that flipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medvit.errors import InputError, ReadError
from medvit.metrics.calibration import expected_calibration_error
from medvit.metrics.noninferiority import Bools, Evidence, Learned, share_claims
from medvit.models.card import read_card
from medvit.report.gate_pictures import image_thumbnail
from medvit.report.gate_report import Figure, Flip, GroupRow
from pipelines.gating.answers import Answers
from pipelines.gating.weighed import MOST_FLIPS, MOST_GROUPS, Pair, Weighed

if TYPE_CHECKING:
    from pipelines.gating.frozen import FrozenImages
    from pipelines.gating.settings import GateSettings

PRIMARY = "accuracy"


def weigh_images(
    pair: Pair, answers: tuple[Answers, Answers], frozen: FrozenImages, *, settings: GateSettings
) -> Weighed:
    """Return what frozen images say of two classifiers.

    The primary figure is the accuracy on classes that both know; a class that only the
    challenger knows is told apart and never counts against it.

    Args:
        pair: Champion and challenger.
        answers: Of both, in this order.
        frozen: The images.
        settings: Margins and policies.

    Raises:
        InputError: If no frozen image shows a class that both know.
    """
    old, new = ({*read_card(each.folder).classes} for each in pair)
    truth = np.array([image.label for image in frozen.cases])
    right = [np.array([said[0] for said in each.answers]) == truth for each in answers]
    shared = np.isin(truth, sorted(old & new))
    if not shared.any():
        msg = f"{frozen.name}: no image shows a class that both models know"
        raise InputError(msg, hint=f"both know {', '.join(sorted(old & new)) or 'none'}")
    classes = sorted({str(label) for label in truth[shared]})
    names, groups = np.unique(frozen.groups, return_inverse=True)
    claims = share_claims(
        right[1][shared],
        right[0][shared],
        groups[shared],
        parts={PRIMARY: np.ones(int(shared.sum()), dtype=np.bool_)}
        | {name: truth[shared] == name for name in classes},
        margins={PRIMARY: settings.margin} | dict.fromkeys(classes, settings.class_margin),
        draws=settings.draws,
    )
    lost = {name: int((truth == name).sum()) for name in sorted(old - new)}
    kept = {name: n for name, n in lost.items() if n and name not in settings.dropped_classes}
    evidence = Evidence(claims[0], claims[1:], _learned(truth, right[1], new - old), kept)
    return Weighed(
        evidence,
        figures=_figures(answers, right, truth, classes),
        groups=_groups(names[groups[shared]], right[0][shared], right[1][shared]),
        flips=_flips(frozen, answers, right),
        cases=int(shared.sum()),
        notes=_notes(truth, old | new),
    )


def _learned(truth: NDArray[np.str_], right: Bools, names: set[str]) -> tuple[Learned, ...]:
    return tuple(
        Learned(name, int(right[truth == name].sum()), int((truth == name).sum()))
        for name in sorted(names)
    )


def _figures(
    answers: Sequence[Answers], right: Sequence[Bools], truth: NDArray[np.str_], classes: list[str]
) -> tuple[Figure, ...]:
    """Return figures beside the primary one; the answer of a classifier has no threshold."""
    shared = np.isin(truth, classes)
    recalls = [[each[truth == name].mean() for name in classes] for each in right]
    sure = [np.array([said[1] for said in each.answers]) for each in answers]
    errors = [
        expected_calibration_error(s[shared], r[shared], equal_mass=True)
        for s, r in zip(sure, right, strict=True)
    ]
    return (
        Figure("balanced accuracy", float(np.mean(recalls[0])), float(np.mean(recalls[1]))),
        Figure("calibration error (ECE)", errors[0], errors[1]),
    )


def _groups(names: NDArray[np.str_], champion: Bools, challenger: Bools) -> tuple[GroupRow, ...]:
    """Return the groups of several images whose answers changed most, the worst first."""
    before, after, cases = Counter(names[champion]), Counter(names[challenger]), Counter(names)
    changed = [name for name in cases if cases[name] > 1 and before[name] != after[name]]
    changed.sort(key=lambda name: (after[name] - before[name], name))
    rows = [GroupRow(str(name), cases[name], before[name], after[name]) for name in changed]
    return tuple(rows[:MOST_GROUPS])


def _flips(
    frozen: FrozenImages, answers: Sequence[Answers], right: Sequence[Bools]
) -> tuple[Flip, ...]:
    """Return images that one model got right and the other wrong: what was lost first."""
    lost = _spread(np.flatnonzero(right[0] & ~right[1]), frozen)[: MOST_FLIPS // 2]
    gained = _spread(np.flatnonzero(right[1] & ~right[0]), frozen)[: MOST_FLIPS - len(lost)]
    return tuple(
        Flip(
            case=frozen.cases[at].path,
            truth=frozen.cases[at].label,
            champion=_said(answers[0], at),
            challenger=_said(answers[1], at),
            gained=bool(right[1][at]),
            picture=_picture(frozen, at),
        )
        for at in (*lost, *gained)
    )


def _spread(places: NDArray[np.intp], frozen: FrozenImages) -> list[int]:
    """Return places so that the first ones are of different classes."""
    met: Counter[str] = Counter()
    ranked = []
    for at in places.tolist():
        label = frozen.cases[at].label
        ranked.append((met[label], label, at))
        met[label] += 1
    return [at for _, _, at in sorted(ranked)]


def _said(answers: Answers, at: int) -> str:
    label, probability = answers.answers[at]
    return f"{label} ({probability:.2f})"


def _picture(frozen: FrozenImages, at: int) -> str:
    from medvit.io.readers import read_image

    try:
        pixels = read_image(frozen.root / frozen.cases[at].path, isolated=False).pixels
    except ReadError:  # answers may be kept longer than images
        return ""
    return image_thumbnail(pixels)


def _notes(truth: NDArray[np.str_], known: set[str]) -> tuple[str, ...]:
    strange = Counter(str(label) for label in truth if label not in known)
    return tuple(
        f"{count} frozen images show {name}, which neither model knows; they are left out"
        for name, count in sorted(strange.items())
    )
