"""The page of models: versions, how they measure, what the gate said, and what is in production."""

from __future__ import annotations

from functools import partial

import streamlit as st

from apps.review import session
from apps.review.access import open_store, workspace
from apps.review.class_curves import (
    ClassCurve,
    class_curves,
    draw_curve,
    first_point,
    in_use_told,
    is_box_detector,
    nothing_told,
    point_told,
    threshold_names,
)
from apps.review.model_curves import Froc, box_rows, class_rows, draw_froc, froc_of
from apps.review.notices import sentence, tell
from apps.review.signin import actor
from apps.review.tables import draw_table
from medvit.errors import MedvitError
from medvit.models.card import ModelCard, read_card
from medvit.registry.production import history, promote, rollback
from medvit.registry.registry import FIGURES, ModelVersion, list_models
from medvit.store.roles import Actor
from pipelines.gate_answers import KeptAnswer, kept_answers

REASON_MAX = 500
NO_CURVES = (
    "Its card holds no precision-recall curves: medvit train keeps them at its end, from the "
    "labelled images of split test; models trained before that and by medvit retrain have none."
)


def show_models() -> None:
    """Draw all versions, one of them closer, comparisons, history and the switch."""
    who = actor()
    models = list_models(workspace().models)
    if not models:
        tell("No model is registered. Train one with medvit train.", tone="notice")
        return
    rows = [
        [each.name, each.version, each.task, "yes" if each.production else "", each.measured]
        for each in models
    ]
    columns = ("Model", "Version", "Task", "In production", "Measured")
    draw_table("models", "Models", columns, rows, empty="")
    _draw_one({each.reference: each for each in models})
    _draw_comparisons(kept_answers(workspace()))
    _draw_switch(models, who)
    _draw_history()


def _draw_one(models: dict[str, ModelVersion]) -> None:
    place = next((i for i, each in enumerate(models.values()) if each.production), 0)
    chosen = st.selectbox("Look at", list(models), index=place, key="model_shown")
    card = read_card(models[str(chosen)].folder)
    froc, curves = froc_of(card), class_curves(card)
    if froc is not None:
        _draw_froc(froc)
    if curves:
        _draw_curves(curves, card)
    boxes, classes = box_rows(card.metrics), class_rows(card.metrics)
    if boxes:
        columns: tuple[str, ...] = ("Class", "#True boxes", "#AP50", "#AP50-95")
        draw_table("boxes", "Classes, weakest first", columns, boxes, empty="")
    if classes:
        columns = ("Class", "#Images", "#Recall", "95 % interval", "#Precision", "#F1")
        draw_table("classes", "Classes, weakest first", columns, classes, empty="")
    is_measured = any(name in card.metrics for name in FIGURES)
    if is_measured and not curves:
        st.text(NO_CURVES)
    if froc is None and not is_measured and not curves:
        st.text("Its card holds no figures of cases that were held out.")


def _draw_froc(froc: Froc) -> None:
    points = [f"{point:g}" for point in froc.fp_per_scan]
    at = st.select_slider(
        "Operating point: false positives a scan", points, value=points[-2], key="model_point"
    )
    number = points.index(str(at))
    st.plotly_chart(draw_froc(froc, number), key="model_froc")
    cut = froc.thresholds[number]
    said = f"finds {froc.sensitivity[number]:.1%} of {froc.nodules} nodules in {froc.scans} "
    said += f"scans at {at} false positives a scan"
    if cut is not None:
        said += f"; probability from {cut:.3f}: medvit scan --fp-per-scan {at}"
    st.text(said)


def _draw_curves(curves: dict[str, ClassCurve], card: ModelCard) -> None:
    """Draw the curve of one class, a slider over its thresholds, and what it says in words."""
    name = st.selectbox("Class", list(curves), key=f"curve_class_{card.reference}")
    curve = curves[str(name)]
    if not curve.threshold:
        st.text(nothing_told(curve))
        return
    number = _chosen_point(curve, card)
    st.plotly_chart(draw_curve(curve, number), key="model_curve")
    st.text(point_told(curve, number))
    st.text(in_use_told(curve, card))


def _chosen_point(curve: ClassCurve, card: ModelCard) -> int:
    """Return the place of the threshold that the slider stands at; one point needs no slider."""
    points = threshold_names(curve.threshold)
    if len(points) == 1:
        return 0
    at = st.select_slider(
        f"Threshold: {'score of a box' if is_box_detector(card) else 'probability of the class'}",
        points,
        value=points[first_point(curve, card)],
        key=f"curve_point_{card.reference}_{curve.name}",
    )
    return points.index(str(at))


def _draw_comparisons(answers: list[KeptAnswer]) -> None:
    draw_table(
        "gate",
        "What the gate said",
        ("Run", "Champion", "Challenger", "Verdict", "#Cases", "Why"),
        [
            [each.run, each.champion, each.challenger, each.verdict, each.cases,
             " ".join(each.reasons)]
            for each in answers
        ],
        empty="No two versions were compared yet: medvit models compare A B, or retrain.",
    )  # fmt: skip
    if not answers:
        return
    known = {each.run: each for each in answers}
    choice, button = st.columns([3, 1], vertical_alignment="bottom")
    run = choice.selectbox(
        "Comparison",
        list(known),
        format_func=lambda run: f"{known[run].champion} and {known[run].challenger} ({run})",
        key="gate_shown",
    )
    answer = known[str(run)]
    if answer.report.is_file():
        button.download_button(
            "Report",
            answer.report.read_bytes(),
            file_name=f"gate-{answer.run.replace('/', '-')}.html",
            mime="text/html",
            width="stretch",
        )
    rows = [list(each) for each in answer.figures]
    columns = ("Figure", "#Champion", "#Challenger")
    draw_table("figures", "Side by side", columns, rows, empty="Nothing could be measured.")


def _draw_switch(models: list[ModelVersion], who: Actor) -> None:
    if not who.may("promote"):
        tell("Promoting a version and taking it back needs the role admin.", tone="notice")
        return
    others = [each.reference for each in models if not each.production]
    with st.form("promote", border=False, clear_on_submit=True):
        which, why, button = st.columns([2, 3, 1], vertical_alignment="bottom")
        which.selectbox("Promote", others, key="promote_which", placeholder="No other version")
        why.text_input("Reason", key="promote_why", max_chars=REASON_MAX)
        button.form_submit_button(
            "Promote", on_click=partial(_promote, who), disabled=not others, width="stretch"
        )
    names = sorted({each.name for each in history(workspace().models)})
    if not names:
        return
    with st.form("rollback", border=False, clear_on_submit=True):
        which, why, button = st.columns([2, 3, 1], vertical_alignment="bottom")
        which.selectbox("Roll back", names, key="rollback_which")
        why.text_input("Reason", key="rollback_why", max_chars=REASON_MAX)
        button.form_submit_button("Roll back", on_click=partial(_rollback, who), width="stretch")


def _draw_history() -> None:
    changes = history(workspace().models)
    rows = [
        [each.at, each.name, each.from_version or "nothing", each.to_version, each.action,
         each.by, each.reason]
        for each in changes[::-1]
    ]  # fmt: skip
    columns = ("@When", "Model", "From", "To", "Did", "Who", "Why")
    draw_table("history", "History of production", columns, rows, empty="Nothing was promoted yet.")


def _promote(who: Actor) -> None:
    name, _, version = str(st.session_state["promote_which"] or "").partition("@")
    why = str(st.session_state["promote_why"]).strip()
    if not why:
        session.refuse("Not promoted: say why; the reason is kept for ever.")
        return
    try:
        open_store().authorise(who, "promote", f"{name}@{version}", reason=why)
        promote(workspace().models, name, version, by=who.name or "app", reason=why)
    except MedvitError as error:
        session.refuse(f"Not promoted: {sentence(error)}")


def _rollback(who: Actor) -> None:
    name = str(st.session_state["rollback_which"])
    why = str(st.session_state["rollback_why"]).strip()
    if not why:
        session.refuse("Not rolled back: say why; the reason is kept for ever.")
        return
    try:
        open_store().authorise(who, "rollback", name, reason=why)
        rollback(workspace().models, name, by=who.name or "app", reason=why)
    except MedvitError as error:
        session.refuse(f"Not rolled back: {sentence(error)}")
