"""The page of runs: scans and retrainings started, watched and stopped from the browser."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import streamlit as st

from apps.review import session
from apps.review.access import open_store, workspace
from apps.review.notices import sentence, tell
from apps.review.signin import actor
from apps.review.tables import draw_table
from medvit.errors import MedvitError
from medvit.registry.registry import list_models
from medvit.store.roles import Actor
from medvit.store.rows import RunRow
from pipelines.job_roots import allow_root, allowed_source, forbid_root, job_roots
from pipelines.jobs import Job, cancel_job, list_jobs, start_job
from pipelines.retraining.strategy import Strategy

EVERY_S = 2
LISTED = 25
LOG_LINES = 12
EFFORTS = ("fast", "balanced", "full")
TASKS = {"auto": "Whatever is there", "nodule": "Nodules in CT", "defect": "Defects in images"}
STRATEGIES = ("auto", *get_args(Strategy))
COUNTS = {"Cases": "cases", "Refused": "refuse", "Failed": "fail", "Findings": "findings"}
SCAN_WORDS = {"running": "not ended"}
"""A scan that was killed cannot say so."""

STATE_WORDS = {
    "running": "running",
    "stopping": "stopping",
    "done": "done",
    "partial": "done, some cases refused or failed",
    "nothing": "nothing to do",
    "refused": "done, the gate refused",
    "stopped": "stopped",
    "failed": "failed",
}


def show_runs() -> None:
    """Draw what can be started, the jobs at work, and those that ended."""
    who = actor()
    _draw_jobs()
    _draw_scans()
    if not who.may("start_job"):
        tell("Starting and stopping jobs needs the role lead.", tone="notice")
        return
    st.space("small")
    left, right = st.columns(2, gap="large")
    with left:
        _draw_scan(who)
    with right:
        _draw_retrain(who)
    _draw_roots(who)


@st.fragment(run_every=EVERY_S)
def _draw_jobs() -> None:
    who = actor()
    jobs = list_jobs(workspace(), most=LISTED)
    for job in jobs:
        if job.is_alive:
            _draw_alive(job, who)
    rows = [
        [int(job.folder.name), _name(job), STATE_WORDS[job.state], job.by,
         job.started_at.isoformat(), job.message if who.may("see_names") else ""]
        for job in jobs
    ]  # fmt: skip
    draw_table(
        "jobs",
        "Jobs",
        ("#Number", "Job", "State", "Started by", "@Started", "What it said"),
        rows,
        empty="No job was started from this page yet. Start a scan or a retraining below.",
    )
    ended = [job for job in jobs if not job.is_alive]
    if ended and who.may("start_job"):
        _draw_again(ended, who)


def _draw_alive(job: Job, who: Actor) -> None:
    with st.container(key=f"notice_job_{job.folder.name}"):
        text, button = st.columns([6, 1], vertical_alignment="center")
        so_far = f": {job.done:,} of {job.total:,}" if job.total else ""
        text.text(f"Job {job.folder.name}, {_name(job)}, {STATE_WORDS[job.state]}{so_far}")
        button.button(
            "Stop",
            key=f"stop_{job.folder.name}",
            disabled=job.state == "stopping" or not who.may("cancel_job"),
            on_click=partial(_stop, job, who),
            width="stretch",
        )
        st.progress(min(1.0, job.done / max(1, job.total)))
        if who.may("see_names") and job.tail:
            st.code("\n".join(job.tail.splitlines()[-LOG_LINES:]), language=None)


@st.fragment(run_every=EVERY_S)
def _draw_scans() -> None:
    draw_table(
        "scans",
        "Scans and imports of this store, whoever started them",
        ("#Run", "Command", "State", "Model", *(f"#{word}" for word in COUNTS), "@Started",
         "#Minutes"),
        scan_rows(open_store().list_runs(most=LISTED)),
        empty="Nothing was scanned into this store yet.",
    )  # fmt: skip


def scan_rows(runs: Sequence[RunRow]) -> list[list[Any]]:
    """Return number, command, state, model, counts, start and minutes of each run."""
    return [
        [run.id, run.command.replace("_", " "), SCAN_WORDS.get(run.state, run.state), run.model,
         *(run.counts.get(name) for name in COUNTS.values()),
         run.started_at.isoformat(), _minutes(run)]
        for run in runs
    ]  # fmt: skip


def _minutes(run: RunRow) -> str | None:
    if run.finished_at is None:
        return None
    return f"{(run.finished_at - run.started_at).total_seconds() / 60:.1f}"


def _draw_again(ended: list[Job], who: Actor) -> None:
    known = {job.folder.name: job for job in ended}
    choice, button = st.columns([3, 1], vertical_alignment="bottom")
    number = choice.selectbox(
        "Ended job",
        list(known),
        format_func=lambda name: f"{name}: {_name(known[name])}, {STATE_WORDS[known[name].state]}",
        key="job_again",
    )
    job = known.get(str(number), ended[0])
    button.button(
        "Run again",
        on_click=partial(_start, list(job.words), who),
        width="stretch",
        help="Goes on where it stopped.",
    )
    if who.may("see_names") and job.tail:
        st.code("\n".join(job.tail.splitlines()[-LOG_LINES:]), language=None)


def _name(job: Job) -> str:
    """Return what a job does, without the path it reads, which may hold a name."""
    return {"scan": "scan of a folder", "retrain": "retraining"}.get(job.words[0], job.words[0])


def _draw_scan(who: Actor) -> None:
    roots = job_roots(workspace())
    with st.form("start_scan", border=False):
        st.subheader("Scan a folder")
        st.text_input(
            "Folder or file",
            key="scan_source",
            placeholder=f"Below {roots[0]}" if roots else "Allow a folder first, below",
            disabled=not roots,
        )
        first, second = st.columns(2)
        first.selectbox("Task", list(TASKS), format_func=TASKS.__getitem__, key="scan_task")
        second.selectbox("Effort", EFFORTS, index=1, key="scan_effort")
        models = ["", *(each.reference for each in list_models(workspace().models))]
        st.selectbox(
            "Model",
            models,
            format_func=lambda name: name or "the one in production",
            key="scan_model",
        )
        st.form_submit_button("Start scan", on_click=partial(_scan, who), disabled=not roots)


def _draw_retrain(who: Actor) -> None:
    with st.form("start_retrain", border=False):
        st.subheader("Retrain on what readers decided")
        st.selectbox("Learn from", ("defect", "nodule"), key="retrain_task")
        st.selectbox("Strategy", STRATEGIES, key="retrain_strategy")
        st.text("The gate compares it with production. Promote it on the page of models.")
        st.form_submit_button("Start retraining", on_click=partial(_retrain, who))


def _draw_roots(who: Actor) -> None:
    roots = job_roots(workspace())
    draw_table(
        "roots",
        "Folders that jobs may read",
        ("Folder",),
        [[str(root)] for root in roots] if who.may("see_names") else [],
        empty="None yet: allow one below.",
    )
    with st.form("roots", border=False, clear_on_submit=True):
        path, allow, forbid = st.columns([4, 1, 1], vertical_alignment="bottom")
        path.text_input("Folder", key="root_path", placeholder="Whole path, links are followed")
        allow.form_submit_button("Allow", on_click=partial(_root, who), width="stretch")
        forbid.form_submit_button(
            "Forbid", on_click=partial(_root, who, forbids=True), width="stretch"
        )


def scan_words(source: Path, *, task: str, effort: str, model: str) -> list[str]:
    """Return the command line of a scan, one string a word."""
    words = ["scan", str(source), "--out", "{job}/out", "--json"]
    words += ["--task", task, "--effort", effort]
    return [*words, "--model", model] if model else words


def retrain_words(*, task: str, strategy: str, by: str) -> list[str]:
    """Return the command line of a retraining, one string a word."""
    return ["retrain", "--json", "--task", task, "--strategy", strategy, f"--by={by}"]


def _scan(who: Actor) -> None:
    state = st.session_state
    try:
        source = allowed_source(workspace(), str(state["scan_source"]))
    except MedvitError as error:
        session.refuse(f"Not started: {sentence(error)}")
        return
    words = scan_words(
        source, task=state["scan_task"], effort=state["scan_effort"], model=state["scan_model"]
    )
    _start(words, who)


def _retrain(who: Actor) -> None:
    state = st.session_state
    _start(
        retrain_words(
            task=state["retrain_task"], strategy=state["retrain_strategy"], by=who.name or "app"
        ),
        who,
    )


def _start(words: list[str], who: Actor) -> None:
    try:
        if words[0] == "scan":
            allowed_source(workspace(), words[1])  # a root may have been forbidden since
        open_store().authorise(who, "start_job", words[0])
        start_job(workspace(), words, by=who.name)
    except MedvitError as error:
        session.refuse(f"Not started: {sentence(error)}")


def _stop(job: Job, who: Actor) -> None:
    try:
        open_store().authorise(who, "cancel_job", job.folder.name)
        cancel_job(job.folder)
    except MedvitError as error:
        session.refuse(f"Not stopped: {sentence(error)}")


def _root(who: Actor, *, forbids: bool = False) -> None:
    folder = Path(str(st.session_state["root_path"]).strip())
    try:
        who.require("start_job")
        if forbids:
            forbid_root(workspace(), folder)
        else:
            allow_root(workspace(), folder, by=who.name)
    except MedvitError as error:
        session.refuse(f"Not changed: {sentence(error)}")
