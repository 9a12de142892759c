"""What a scan as a whole tells: which cases to ask about first, and whether things have drifted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medvit.findings.finding import CaseResult
from medvit.learn.active.choice import WEIGHTS, Choice, Pool, choose
from medvit.store.rows import CaseFilter, CaseSignal
from medvit.store.store import Store
from medvit.trust.drift import LEAST_CASES, OF_LAST_RUNS, is_alarm, measure_drift
from medvit.trust.ood import KnownLooks
from pipelines.run_record import RUN_FILE
from pipelines.scanning.detectors import Detector
from pipelines.scanning.journal import Entry

MOST_CHOSEN = 500
MOST_EXAMPLES = 10
MOST_REVIEWED = 100_000

Floats = NDArray[np.float64]


def look_back(
    entries: Sequence[Entry], detector: Detector | None, *, store: Store, run: Path
) -> dict[str, Any]:
    """Write the signals `drift` and `priority`, and return what is to be told of drift.

    Args:
        entries: Cases of the run; their results are in the store.
        detector: The model for images, if any was needed.
        store: Where signals go.
        run: Folder of the run; earlier runs lie beside it.
    """
    read = [entry for entry in entries if entry.features]
    drift: dict[str, Any] = {}
    if detector is not None and detector.looks is not None:
        model = detector.version.reference
        drift = _drift(read, detector.looks, store=store, run=run, model=model)
    for group in (read, [entry for entry in entries if not entry.features]):
        _write_priorities([e for e in group if e.result.verdict in ("accept", "repair")], store)
    return drift


def notes_of(drift: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a report says of drift; nothing when there is nothing to say."""
    if not drift.get("shifted"):
        return ()
    p_value = min(drift["p_values"].values())
    certainty = "Alarm" if drift["alarm"] else "Seen in this run alone so far"
    told = (
        f"Images of this run differ from those that {drift['model']} was tested on: by up to "
        f"{drift['effect_sd']:.1f} standard deviations (p = {p_value:.2g}). "
        f"{certainty}: its probabilities may no longer hold."
    )
    return (told,)


def _drift(
    entries: Sequence[Entry], looks: KnownLooks, *, store: Store, run: Path, model: str
) -> dict[str, Any]:
    window, rows = _by_folder(entries)
    if len(window) < LEAST_CASES:
        return {"model": model, "n": len(window), "needs": LEAST_CASES}
    found = measure_drift(looks.reference, window, rng=np.random.default_rng(0))
    delivery = _mark_of(entries)
    flags = [*_earlier(run, model, but=delivery), bool(found.shifted)]
    most = MOST_EXAMPLES if found.shifted else 0
    strangest = np.argsort(-found.unlikeness)[:most].tolist()
    signals = [
        CaseSignal(
            rows[place].result.case.case_id,
            "drift",
            float(found.unlikeness[place]),
            f"Its scan differs from the images the model was tested on; this image lies "
            f"{found.unlikeness[place]:.1f} standard deviations out along that difference.",
        )
        for place in strangest
    ]
    store.put_signals(signals)
    return {
        "model": model,
        "delivery": delivery,
        "n": len(window),
        "p_values": dict(found.p_values),
        "shifted": list(found.shifted),
        "alarm": is_alarm(flags),
        "effect_sd": found.effect_sd,
        "examples": [signal.case_id for signal in signals],
    }


def _by_folder(entries: Sequence[Entry]) -> tuple[Floats, list[Entry]]:
    """Return a row for each part: a folder of several folders, or a lone image."""
    folders = {_folder(entry) for entry in entries}
    if len(folders) < LEAST_CASES:
        rows = list(entries)
        return np.array([entry.features for entry in rows], dtype=np.float64), rows
    parts: dict[str, list[Entry]] = {}
    for entry in entries:
        parts.setdefault(_folder(entry), []).append(entry)
    means = [np.mean([e.features for e in own], axis=0) for own in parts.values()]
    return np.array(means, dtype=np.float64), [own[0] for own in parts.values()]


def _folder(entry: Entry) -> str:
    case = entry.result.case
    return f"{case.root}/{PurePosixPath(case.source).parent}"


def _mark_of(entries: Sequence[Entry]) -> str:
    """Return a hash of the cases: the same ones scanned twice are no second witness."""
    names = sorted(entry.result.case.case_id for entry in entries)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _earlier(run: Path, model: str, *, but: str) -> list[bool]:
    """Return whether earlier runs of other cases with the same model differed, oldest first."""
    numbers = sorted(int(each.name) for each in run.parent.iterdir() if each.name.isdecimal())
    flags: list[bool] = []
    for number in reversed([each for each in numbers if each < int(run.name)]):
        try:
            told = json.loads((run.parent / str(number) / RUN_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # still running, or killed
        drift = told.get("drift", {})
        is_other = drift.get("delivery") != but
        if is_other and drift.get("model") == model and "shifted" in drift:
            flags.append(bool(drift["shifted"]))
        if len(flags) == OF_LAST_RUNS - 1:
            break
    return flags[::-1]


def _write_priorities(entries: Sequence[Entry], store: Store) -> None:
    if not entries:
        return
    ids = [entry.result.case.case_id for entry in entries]
    told = {name: np.zeros(len(ids)) for name in WEIGHTS}
    told["uncertainty"] = np.array([doubt_of(entry.result) for entry in entries])
    place = {case_id: number for number, case_id in enumerate(ids)}
    for signal in store.signals_of(*ids):
        if signal.name in ("ood", "drift", "suspect_label"):
            told[signal.name][place[signal.case_id]] = 1.0
    reviewed, _ = store.list_cases(CaseFilter(state="reviewed"), limit=MOST_REVIEWED)
    done = {case.case_id for case in reviewed}
    pool = Pool(
        np.array([entry.features for entry in entries], dtype=np.float64).reshape(len(ids), -1),
        told,
        [_folder(entry) for entry in entries],
        np.array([case_id in done for case_id in ids]),
    )
    chosen = choose(pool, count=MOST_CHOSEN)
    store.put_signals(
        CaseSignal(ids[each.index], "priority", each.priority, _why(each, pool)) for each in chosen
    )


def doubt_of(result: CaseResult) -> float:
    """Return how little a model trusts its own answer, 0 to 1.

    Of an image what is missing to certainty, twice, at most 1; of a CT the finding that is
    nearest to a coin flip, `1 - |2p - 1|`.
    """
    if result.probability is not None:
        return float(min(1.0, 2 * (1 - result.probability)))
    return max((1 - abs(2 * each.probability - 1) for each in result.findings), default=0.0)


def _why(choice: Choice, pool: Pool) -> str:
    words = {
        "uncertainty": "the model is unsure",
        "suspect_label": "its label is in doubt",
        "ood": "it is unlike the training data",
        "drift": "its scan has drifted",
    }
    reasons = [words[name] for name, own in pool.reasons.items() if own[choice.index] >= 0.5]
    told = ", ".join(reasons) or "nothing in particular"
    return (
        f"Speaks for it: {told}; distance from what was reviewed or chosen: {choice.distance:.2f}."
    )
