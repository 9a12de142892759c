"""An explanation beside a finding, on demand: the map, its name, and how true it is."""

from __future__ import annotations

from typing import Any

import streamlit as st

from apps.review.access import workspace
from apps.review.desk import Desk
from apps.review.notices import sentence, tell
from medvit.errors import MedvitError

METHODS = {
    "gradcam": "Grad-CAM: what speaks for it",
    "evidence": "Evidence: what each patch adds",
    "eigencam": "Eigen-CAM: where it looked",
    "rollout": "Rollout: where it looked",
}


def draw_explanation(desk: Desk) -> None:
    """Offer to explain the chosen finding of a model; nothing is computed before it is asked."""
    found = desk.chosen.finding
    if found is None or not found.model:
        return
    methods = list(METHODS) if desk.case.kind == "image" else ["gradcam"]
    with st.popover("Explain", width="stretch"):
        method = st.selectbox(
            "Method", methods, format_func=METHODS.__getitem__, key="explain_method"
        )
        if not st.button("Show where it looked", key=f"explain_{found.finding_id}"):
            return
        try:
            told = _explained(found.finding_id, str(method))
        except MedvitError as error:
            tell(sentence(error), tone="caution")
            return
        figures = told["faithfulness"]
        st.image(told["picture"], width="stretch")
        st.text(told["title"][0].upper() + told["title"][1:])
        st.text(
            f"Truer than {figures['beaten']:.0%} of {figures['random']['maps']} maps of noise "
            f"(deletion {figures['deletion_auc']:.2f}, insertion {figures['insertion_auc']:.2f})"
        )


def _explained(finding_id: str, method: str) -> dict[str, Any]:
    from pipelines.explain import ExplainSettings, run

    settings = ExplainSettings.model_validate({"case": finding_id, "method": method})
    return run(settings, workspace=workspace())
