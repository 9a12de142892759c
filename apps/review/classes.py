"""The labels a reader can choose from."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from apps.review.access import workspace
from medvit.errors import ModelError
from medvit.store.rows import CaseRow, FindingRow

CT_LABELS = (
    "nodule",
    "calcified nodule",
    "ground-glass nodule",
    "lymph node",
    "vessel",
    "airway",
    "scar",
    "artefact",
)
"""What a bright spot in a lung most often is; readers may type others."""


def class_names(case: CaseRow, findings: Iterable[FindingRow]) -> list[str]:
    """Return the labels for a case: of images those of the model that judged them.

    Labels that are in use on the case itself are always among them.
    """
    rows = list(findings)
    if case.kind == "ct":
        known: tuple[str, ...] = CT_LABELS
    else:
        model = next((row.finding.model for row in rows if row.finding.model), "")
        known = _model_classes(model, str(workspace().models.resolve()))
    used = [
        case.label,
        case.label_now,
        *(row.finding.label for row in rows),
        *(row.label_now for row in rows),
    ]
    return list(dict.fromkeys(name for name in [*known, *used] if name))


@st.cache_data(ttl=300, max_entries=64, show_spinner=False)
def _model_classes(reference: str, models: str) -> tuple[str, ...]:
    from pathlib import Path

    from medvit.models.weights import read_card
    from medvit.registry.registry import find_model

    try:
        found = find_model(reference or None, task="defect", models=Path(models))
        return read_card(found.folder).classes
    except ModelError:
        return ()
