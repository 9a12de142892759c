"""The gate: champion and challenger on the same frozen cases, a verdict, and a page to read.

Altered? -> trained on frozen cases? -> answers of both -> evidence -> verdict -> page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit import atomic
from medvit.metrics.noninferiority import Answer, Claim, Verdict, level_at, weigh
from medvit.registry.production import check_weights
from medvit.report.gate_report import Figure, GatePage, gate_page
from pipelines.evaluating.keeping import REPORT, heading
from pipelines.gating.answers import Answers, answers_of, model_key
from pipelines.gating.boxes import weigh_boxes
from pipelines.gating.frozen import (
    FrozenCases,
    FrozenImages,
    FrozenScans,
    frozen_images,
    frozen_scans,
)
from pipelines.gating.frozen_boxes import FrozenBoxes, FrozenBoxImage, frozen_boxes
from pipelines.gating.images import weigh_images
from pipelines.gating.leaks import Leaks, find_leaks
from pipelines.gating.looks import count_look
from pipelines.gating.scans import weigh_scans
from pipelines.gating.settings import GateSettings

if TYPE_CHECKING:
    from medvit.registry.registry import ModelVersion
    from pipelines.gating.weighed import Pair, Weighed

__all__ = [
    "FrozenBoxImage",
    "FrozenCases",
    "GateAnswer",
    "GateSettings",
    "frozen_boxes",
    "frozen_images",
    "frozen_scans",
    "judge",
]

FIGURES = "gate.json"


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What the gate says of a challenger.

    Attributes:
        verdict: Production changes by itself on `promote` alone.
        reasons: Sentences; the first one decides.
        warnings: What is odd, such as a frozen set that was looked at too often.
        figures: All that was measured, as plain values.
        report: A page that stands alone.
    """

    verdict: Answer
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    figures: dict[str, Any]
    report: Path


def judge(
    champion: ModelVersion,
    challenger: ModelVersion,
    frozen: FrozenCases,
    *,
    settings: GateSettings,
    out: Path,
) -> GateAnswer:
    """Compare two models on frozen cases, and write `report.html` and `gate.json` into `out`.

    A challenger, or a champion, that was trained on frozen cases is refused before anything is
    measured.

    Args:
        champion: In production.
        challenger: That may take its place.
        frozen: Cases that neither was trained on.
        settings: Margins and policies.
        out: A folder; made if it is not there.

    Raises:
        ModelError: If a model was altered, or does not fit the cases.
        InputError: If a case cannot be read.
    """
    pair = (champion, challenger)
    for version in pair:
        check_weights(version)
    leaks = find_leaks(frozen, pair)
    if leaks.found:
        refused = Verdict("refuse", leaks.found, is_better=False)
        return _written(_Judged(pair, frozen, settings, refused, leaks), out)
    answers = (
        answers_of(champion, frozen, folder=settings.folder),
        answers_of(challenger, frozen, folder=settings.folder),
    )
    weighed = _weigh(pair, answers, frozen, settings=settings)
    key = model_key(challenger)
    look = count_look(settings.folder, frozen_sha256=frozen.sha256, challenger=key)
    verdict = weigh(
        weighed.evidence,
        holds_rare=settings.rare_classes == "hold",
        learned_recall=settings.new_class_recall,
        look=look,
    )
    judged = _Judged(pair, frozen, settings, verdict, leaks, weighed, answers, look)
    return _written(judged, out)


@dataclass(frozen=True, slots=True)
class _Judged:
    """All that is told of a judgement."""

    pair: Pair
    frozen: FrozenCases
    settings: GateSettings
    verdict: Verdict
    leaks: Leaks
    weighed: Weighed | None = None
    answers: tuple[Answers, Answers] | None = None
    look: int = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd."""
        notes = self.weighed.notes if self.weighed else ()
        return (*self.leaks.unknown, *notes, *_worn_out(self.look, self.settings.most_looks))

    @property
    def lineage(self) -> str:
        """Whether the models were trained on frozen cases."""
        if self.leaks.found:
            return "Frozen cases were trained on: nothing was measured."
        if self.leaks.unknown:
            return "Whether frozen cases were trained on is not known of every model, see above."
        return "Frozen cases were trained on by neither."

    @property
    def costs(self) -> tuple[Figure, ...]:
        """Time and memory of both models."""
        if self.answers is None:
            return ()
        champion, challenger = (each.cost for each in self.answers)
        unit, factor = ("seconds", 1) if self.is_ct else ("milliseconds", 1000)
        return (
            Figure(
                f"{unit} a case ({champion.device}, {challenger.device})",
                factor * champion.seconds_a_case,
                factor * challenger.seconds_a_case,
                form=".1f",
            ),
            Figure("memory on top, MiB", champion.rise_mb, challenger.rise_mb, form=".0f"),
        )

    @property
    def is_ct(self) -> bool:
        """Whether cases are scans."""
        return isinstance(self.frozen, FrozenScans)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures beside the claims."""
        return (*(self.weighed.figures if self.weighed else ()), *self.costs)


def _weigh(
    pair: Pair, answers: tuple[Answers, Answers], frozen: FrozenCases, *, settings: GateSettings
) -> Weighed:
    if isinstance(frozen, FrozenImages):
        return weigh_images(pair, answers, frozen, settings=settings)
    if isinstance(frozen, FrozenBoxes):
        return weigh_boxes(pair, answers, frozen, settings=settings)
    return weigh_scans(pair, answers, frozen, settings=settings)


def _worn_out(look: int, most: int) -> list[str]:
    if look <= most:
        return []
    return [
        f"this is challenger {look} at this frozen set, and each look spends some of it; after "
        f"{most}, freeze newly reviewed cases"
    ]


def _written(judged: _Judged, out: Path) -> GateAnswer:
    """Write page and figures, and return the answer."""
    champion, challenger = (each.reference for each in judged.pair)
    verdict, weighed = judged.verdict, judged.weighed
    page = GatePage(
        champion=champion,
        challenger=challenger,
        verdict=verdict,
        evidence=weighed.evidence if weighed else None,
        figures=judged.figures,
        groups=weighed.groups if weighed else (),
        flips=weighed.flips if weighed else (),
        facts=_facts(judged),
        lineage=judged.lineage,
        is_ct=judged.is_ct,
    )
    figures = _plain(judged)
    out.mkdir(parents=True, exist_ok=True)
    title = f"{challenger} against {champion}"
    atomic.write_text(out / REPORT, gate_page(page, heading(title, judged.warnings)))
    atomic.write_text(out / FIGURES, json.dumps(figures, indent=1) + "\n")
    return GateAnswer(verdict.answer, verdict.reasons, judged.warnings, figures, out / REPORT)


def _facts(judged: _Judged) -> list[tuple[str, str]]:
    settings, frozen = judged.settings, judged.frozen
    names = ("Champion", "Challenger")
    models = [
        (name, f"{each.reference}, weights SHA-256 {each.sha256[:16]}")
        for name, each in zip(names, judged.pair, strict=True)
    ]
    return [
        *models,
        (
            "Frozen cases",
            f"{frozen.name}: {len(frozen.cases)} cases of "
            f"{len(set(frozen.groups))} groups, SHA-256 {frozen.sha256[:16]}",
        ),
        ("Margin", f"{settings.margin:g}: {settings.margin_reason}"),
        ("Margin of a class", f"{settings.class_margin:g}: {settings.class_margin_reason}"),
        ("Enough", f"{settings.least_cases} cases of {settings.least_groups} groups"),
        (
            "Intervals",
            f"95 %, {settings.rounds} draws of groups, both models on the same draw, "
            f"seed {settings.seed}",
        ),
        *_look_fact(judged.look),
    ]


def _look_fact(look: int) -> list[tuple[str, str]]:
    if not look:
        return []
    return [
        ("Look", f"number {look} at this frozen set; better means p below {level_at(look):.2g}")
    ]


def _plain(judged: _Judged) -> dict[str, Any]:
    """Return all that was measured as plain values, for `gate.json`."""
    champion, challenger = judged.pair
    values: dict[str, Any] = {
        "verdict": judged.verdict.answer,
        "reasons": list(judged.verdict.reasons),
        "is_better": judged.verdict.is_better,
        "warnings": list(judged.warnings),
        "champion": champion.reference,
        "champion_sha256": champion.sha256,
        "challenger": challenger.reference,
        "challenger_sha256": challenger.sha256,
        "frozen": judged.frozen.name,
        "frozen_sha256": judged.frozen.sha256,
        "cases": len(judged.frozen.cases),
        "look": judged.look,
        "settings": judged.settings.model_dump(mode="json", exclude={"folder"}),
    }
    if judged.weighed is None:
        return values
    evidence = judged.weighed.evidence
    return values | {
        "primary": _claim(evidence.primary),
        "parts": [_claim(part) for part in evidence.parts],
        "learned": [{**asdict(each), "recall": each.interval} for each in evidence.learned],
        "lost": dict(evidence.lost or {}),
        "figures": [
            {"name": each.name, "champion": each.champion, "challenger": each.challenger}
            for each in judged.figures
        ],
        "flips": [
            {"case": each.case, "truth": each.truth, "gained": each.gained}
            for each in judged.weighed.flips
        ],
    }


def _claim(claim: Claim) -> Mapping[str, Any]:
    plain = asdict(claim)
    if claim.difference is not None:
        plain["difference"]["value"] = claim.difference.value
    return {**plain, "standing": claim.standing}
