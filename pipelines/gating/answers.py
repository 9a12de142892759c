"""What a model says of frozen cases: asked once, and kept by the hashes of both."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit import atomic
from medvit.errors import ModelError
from medvit.models.card import CARD_FILE, file_sha256
from medvit.tiles.resident import MIB, PeakMeter, release_free
from pipelines.gating.box_answers import boxes_said
from pipelines.gating.frozen import FrozenCases, FrozenImages, FrozenScans
from pipelines.gating.frozen_boxes import FrozenBoxes

if TYPE_CHECKING:
    from torch import nn

    from medvit.models.card import ModelCard
    from medvit.models.heads.boxes import BoxDetector
    from medvit.registry.registry import ModelVersion

LAYOUT = 1
"""Of the file that is kept."""

CHUNK = 256
"""Images held at a time."""

WARM = 32
"""Images that are judged before anything is measured."""

LEAST_PROBABILITY = 0.01
"""Marks below it would only make the curve longer at its right end."""

Answer = Sequence[Any]
"""Of an image: label and probability, or its boxes. Of a scan: marks (x, y, z in LPS mm, score)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the answers took, with the model loaded.

    Attributes:
        seconds_a_case: Of the clock, reading excluded for images and included for scans.
        rise_mb: By how much the process grew.
        device: Where it ran.
    """

    seconds_a_case: float
    rise_mb: float
    device: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says of each case, in the order of the cases."""

    answers: tuple[Answer, ...]
    cost: Cost


def model_key(version: ModelVersion) -> str:
    """Return the hash of a model's card, which holds the hash of its weights."""
    return file_sha256(version.folder / CARD_FILE)


def kept_file(version: ModelVersion, frozen: FrozenCases, folder: Path) -> Path:
    """Return where the answers of a model on frozen cases are kept."""
    both = hashlib.sha256(f"{model_key(version)} {frozen.sha256}".encode()).hexdigest()
    return folder / "answers" / f"{both[:32]}.json"


def answers_of(version: ModelVersion, frozen: FrozenCases, *, folder: Path) -> Answers:
    """Return a model's answers: those that are kept, or new ones, which then are kept.

    Raises:
        ModelError: If the model was altered or does not fit the cases.
        InputError: If a case cannot be read.
    """
    file = kept_file(version, frozen, folder)
    kept = _read(file, cases=len(frozen.cases))
    if kept is None:
        kept = _asked(version, frozen, folder)
        keep_answers(file, kept, about={"model": version.reference, "frozen": frozen.sha256})
    return kept


def keep_answers(file: Path, answers: Answers, *, about: dict[str, str]) -> None:
    """Write answers down, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    values = {"layout": LAYOUT, **about, **asdict(answers)}
    atomic.write_text(file, json.dumps(values) + "\n")


def _read(file: Path, *, cases: int) -> Answers | None:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        answers = Answers(tuple(values["answers"]), Cost(**values["cost"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("%s is no file of answers (%s); the model is asked again", file.name, error)
        return None
    return answers if values["layout"] == LAYOUT and len(answers.answers) == cases else None


def _asked(version: ModelVersion, frozen: FrozenCases, folder: Path) -> Answers:
    from medvit.models.weights import load_model
    from pipelines.scanning.detectors import choose_device

    net, card = load_model(version.folder)
    device = choose_device("auto")
    net.to(device)
    spent: list[float] = []
    if isinstance(frozen, FrozenImages):  # what a first call alone takes is no model's fault
        _images(net, card, replace(frozen, cases=frozen.cases[:WARM]), [])
    elif isinstance(frozen, FrozenBoxes):
        boxes_said(net, card, replace(frozen, cases=frozen.cases[:1]), [])
    release_free()
    with PeakMeter() as memory:
        if isinstance(frozen, FrozenImages):
            answers = _images(net, card, frozen, spent)
        elif isinstance(frozen, FrozenBoxes):
            answers = list[Answer](boxes_said(net, card, frozen, spent))
        else:
            answers = _scans(net, frozen, folder, spent)
    seconds = sum(spent) / max(1, len(frozen.cases))
    return Answers(tuple(answers), Cost(seconds, memory.rise_bytes / MIB, device.type))


def _images(
    net: nn.Module, card: ModelCard, frozen: FrozenImages, spent: list[float]
) -> list[Answer]:
    from medvit.data.surface import load_images
    from medvit.learn.classify import predict_logits
    from medvit.models.heads.boxes import BoxDetector
    from medvit.models.heads.classify import DefectClassifier

    if isinstance(net, BoxDetector):
        return _best_boxes(net, card, frozen, spent)
    how = card.preprocessing
    if not isinstance(net, DefectClassifier):
        msg = (
            f"{card.reference} gives no label to an image as a whole, it is a "
            f"{card.architecture.builder}; so it cannot be compared on labelled images"
        )
        raise ModelError(msg, hint="compare classifiers; see `medvit models list`")
    temperature = float(card.calibration.get("temperature", 1.0))
    answers: list[Answer] = []
    for start in range(0, len(frozen.cases), CHUNK):
        paths = [image.path for image in frozen.cases[start : start + CHUNK]]
        side, channels = int(how["side_px"]), how.get("channels", "grey")
        pixels = load_images(frozen.root, paths, side_px=side, channels=channels)
        with _timed(spent):
            logits = predict_logits(net, pixels).double()
        if logits.shape[1:] != (len(card.classes),):
            msg = f"{card.reference}: {len(card.classes)} scores an image are expected, got "
            msg += f"{tuple(logits.shape[1:])}"
            raise ModelError(msg, hint="check the model with medvit models verify")
        sure, place = (logits / temperature).softmax(dim=1).max(dim=1)
        pairs = zip(place.tolist(), sure.tolist(), strict=True)
        answers += [(card.classes[at], probability) for at, probability in pairs]
    return answers


def _best_boxes(
    net: BoxDetector, card: ModelCard, frozen: FrozenImages, spent: list[float]
) -> list[Answer]:
    """Return the labels of images by their best boxes, as a scan tells them."""
    from medvit.data.manifest import ManifestRow
    from pipelines.evaluating.box_labels import judge_by_boxes

    rows = [(ManifestRow(c.path, c.label, "test", c.group), c.label) for c in frozen.cases]
    with _timed(spent):
        judged = judge_by_boxes(net, card, rows=rows, root=frozen.root, progress=None)
    return [(each.predicted, each.probability) for each in judged]


def _scans(net: nn.Module, frozen: FrozenScans, folder: Path, spent: list[float]) -> list[Answer]:
    from medvit.inference.nodules import NoduleSettings, detect_nodules
    from medvit.io.pyramids import open_pyramid
    from medvit.io.scratch import Scratch

    settings = NoduleSettings(min_probability=LEAST_PROBABILITY)
    scratch = Scratch.below(folder / "scratch")
    answers: list[Answer] = []
    for number, scan in enumerate(frozen.cases, start=1):
        with _timed(spent):
            pyramid = open_pyramid(scan.case, scratch=scratch)
            found = detect_nodules(pyramid, net, settings=settings)
        answers.append([(*each.centre_lps_mm, each.probability) for each in found.nodules])
        _log.info("%d of %d frozen scans are searched", number, len(frozen.cases))
    return answers


@contextmanager
def _timed(spent: list[float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    spent.append(time.perf_counter() - start)
