"""Runs, models and labels without a browser: what they say, start and refuse."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import pydicom
import pytest
from streamlit.testing.v1 import AppTest

from apps.review import labels_page, runs_page
from apps.review.model_curves import froc_of
from medvit.models.card import read_card
from medvit.registry.production import history, promote
from medvit.registry.registry import find_model
from medvit.store.label_counts import label_counts, suspects
from medvit.store.roles import Actor
from medvit.store.rows import CaseSignal, Decision
from pipelines.gate_answers import kept_answers
from pipelines.job_roots import allow_root, job_roots
from tests.apps.review.conftest import CT_ID, IMAGE_ID, OTHER_CT_ID, Practice
from tests.apps.review.test_pages import open_page, press, said, sound
from tests.make.models import DEFECT, register_untrained


def page_of(module: str, show: str, reader: str) -> AppTest:
    """Return a page by itself, with the message that the frame would show."""
    script = (
        "import streamlit as st\n"
        "from apps.review import session\n"
        f"from {module} import {show}\n"
        "st.text(session.take_refusal())\n"
        f"{show}()\n"
    )
    page = AppTest.from_string(script, default_timeout=60)
    page.session_state["reader_name"] = reader
    return sound(page.run())


def runs(reader: str = "Lee") -> AppTest:
    return page_of("apps.review.runs_page", "show_runs", reader)


def typed(page: AppTest, label: str, text: str) -> AppTest:
    (field,) = [field for field in page.text_input if field.label == label]
    field.input(text)
    return page


def choose(page: AppTest, label: str, value: str) -> AppTest:
    (box,) = [box for box in page.selectbox if box.label == label]
    box.select(value)
    return page


def make_reader(practice: Practice, name: str) -> None:
    practice.store.set_role(Actor("Ada", "admin"), "Ada", "admin")
    practice.store.set_role(Actor("Ada", "admin"), name, "reader")


def test_a_scan_is_started_below_an_allowed_folder_and_written_into_the_log(
    practice: Practice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[tuple[list[str], str]] = []
    monkeypatch.setattr(runs_page, "start_job", lambda _, words, by: started.append((words, by)))
    page = typed(runs(), "Folder", str(tmp_path / "source"))
    page = press(page, "Allow")
    assert job_roots(practice.workspace) == [tmp_path / "source"]
    page = press(typed(page, "Folder or file", "/etc"), "Start scan")
    assert "Not started: jobs read only below the 1 folders" in said(page)
    assert started == []
    press(typed(page, "Folder or file", str(tmp_path / "source" / "chest")), "Start scan")
    words = ["scan", str(tmp_path / "source" / "chest"), "--out", "{job}/out", "--json"]
    assert started == [([*words, "--task", "auto", "--effort", "balanced"], "Lee")]
    newest = practice.store.list_audit(limit=1)[0]
    assert (newest.reader, newest.deed, newest.subject) == ("Lee", "start_job", "scan")


def test_scans_of_the_store_are_listed_whoever_started_them(practice: Practice) -> None:
    number = practice.store.start_run("scan", {}, model="m@1", model_sha256="")
    practice.store.finish_run(number, "interrupted", {"cases": 7, "refuse": 2, "findings": 31})
    open_number = practice.store.start_run("labels_import", {}, model="", model_sha256="")
    rows = runs_page.scan_rows(practice.store.list_runs(most=2))
    assert rows[0][:5] == [open_number, "labels import", "not ended", "", None]
    assert rows[1][:8] == [number, "scan", "interrupted", "m@1", 7, 2, None, 31]
    assert (rows[0][-1], rows[1][-1]) == (None, "0.0")
    runs("Lee")  # and the page draws them


def test_a_plain_reader_looks_on(practice: Practice, tmp_path: Path) -> None:
    make_reader(practice, "Lee")
    allow_root(practice.workspace, tmp_path / "source", by="Ada")
    page = runs()
    assert "needs the role lead" in said(page)
    assert [button.label for button in page.button] == []


def test_a_retraining_is_a_list_of_words(practice: Practice) -> None:
    assert runs_page.retrain_words(task="defect", strategy="auto", by="--promote")[-1] == (
        "--by=--promote"
    )
    page = runs()
    assert "Start retraining" in [button.label for button in page.button]
    assert practice.store.list_audit() == []


def test_an_admin_promotes_with_a_reason_and_takes_it_back(
    practice: Practice, models: Path
) -> None:
    register_untrained(models, version="second", seed=4)
    promote(models, DEFECT, "test", by="Ada", reason="first")
    page = page_of("apps.review.models_page", "show_models", "Lee")
    page = press(choose(page, "Promote", f"{DEFECT}@second"), "Promote")
    assert "say why" in said(page)
    assert find_model(DEFECT, models=models).version == "test"
    page = choose(page, "Promote", f"{DEFECT}@second")
    page.text_input(key="promote_why").input("learned scale")
    page = press(page, "Promote")
    assert find_model(DEFECT, models=models).version == "second"
    newest = practice.store.list_audit(limit=1)[0]
    assert (newest.reader, newest.deed, newest.subject) == ("Lee", "promote", f"{DEFECT}@second")
    page.text_input(key="rollback_why").input("too many false marks")
    press(page, "Roll back")
    assert find_model(DEFECT, models=models).version == "test"
    assert [each.by for each in history(models)] == ["Ada", "Lee", "Lee"]


def test_the_shipped_detector_shows_what_an_operating_point_costs(practice: Practice) -> None:
    page = page_of("apps.review.models_page", "show_models", "Lee")
    (shown,) = [box for box in page.selectbox if box.label == "Look at"]
    page = sound(shown.select(next(o for o in shown.options if o.startswith("nodule"))).run())
    card = read_card(find_model(None, task="nodule").folder)
    froc = froc_of(card)
    assert froc is not None
    at_four = froc.fp_per_scan.index(4.0)
    assert f"finds {froc.sensitivity[at_four]:.1%} of {froc.nodules} nodules" in said(page)
    (slider,) = page.select_slider
    page = sound(slider.set_value("1").run())
    assert f"finds {froc.sensitivity[froc.fp_per_scan.index(1.0)]:.1%}" in said(page)
    assert "medvit scan --fp-per-scan 1" in said(page)


def test_a_reader_does_not_promote(practice: Practice) -> None:
    make_reader(practice, "Lee")
    page = page_of("apps.review.models_page", "show_models", "Lee")
    assert "needs the role admin" in said(page)
    assert "Promote" not in [button.label for button in page.button]


def test_what_the_gate_said_is_found_in_the_runs(practice: Practice) -> None:
    told = {
        "champion": "a@1", "challenger": "a@2", "verdict": "promote", "reasons": ["better"],
        "cases": 7, "figures": [{"name": "accuracy", "champion": "0.9", "challenger": "0.95"}],
    }  # fmt: skip
    run = practice.workspace.new_run("compare")
    (run / "gate.json").write_text(json.dumps(told))
    broken = practice.workspace.new_run("retrain") / "gate"
    broken.mkdir()
    (broken / "gate.json").write_text("{}")
    (answer,) = kept_answers(practice.workspace)
    assert (answer.run, answer.verdict, answer.cases) == ("compare/1", "promote", 7)
    assert answer.figures == (("accuracy", "0.9", "0.95"),)


def test_labels_are_counted_and_what_readers_agree_on_comes_out(practice: Practice) -> None:
    decision = Decision(IMAGE_ID, None, "relabel", "Lee", label="slag")
    practice.store.decide(decision)
    practice.store.put_signals([CaseSignal(IMAGE_ID, "suspect_label", 0.8, "looks like ash")])
    url = practice.workspace.store_url
    assert label_counts(url) == [("scratch", 1, 0), ("slag", 1, 1)]
    assert suspects(url) == [(IMAGE_ID, 0.8, "looks like ash")]
    page = page_of("apps.review.labels_page", "show_labels", "Lee")
    page = press(page, "Prepare")
    assert "Not exported" not in said(page)
    made = labels_page.exported("manifest")
    assert made.name == "manifest.csv"
    assert b"slag" in made.content
    newest = practice.store.list_audit(limit=1)[0]
    assert (newest.deed, newest.subject) == ("export", "COCO")
    make_reader(practice, "Lee")
    page = page_of("apps.review.labels_page", "show_labels", "Lee")
    assert "needs the role lead" in said(page)


def prepare_reports() -> AppTest:
    page = page_of("apps.review.labels_page", "show_labels", "Lee")
    return press(sound(choose(page, "Export what readers agree on as", "sr").run()), "Prepare")


def test_reports_of_confirmed_nodules_come_as_one_archive(practice: Practice) -> None:
    assert "Not exported: the store holds no nodule" in said(prepare_reports())
    accepted, rejected, _ = practice.ct_findings
    practice.store.decide(Decision(CT_ID, accepted, "accept", "Lee"))
    practice.store.decide(Decision(CT_ID, rejected, "reject", "Lee"))
    page = prepare_reports()
    assert "Not exported" not in said(page)
    assert "left out" not in said(page)
    assert "DICOM SR holds only what readers confirmed." in said(page)
    made = page.session_state["exported"][1]
    assert (made.name, made.left_out) == ("labels-sr.zip", ())
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        assert archive.namelist() == [f"{CT_ID}.dcm"]
        report = pydicom.dcmread(io.BytesIO(archive.read(f"{CT_ID}.dcm")))
    *_, measurements = report.ContentSequence
    assert len(measurements.ContentSequence) == 1
    newest = practice.store.list_audit(limit=1)[0]
    assert (newest.deed, newest.subject) == ("export", "DICOM SR")


def test_scans_that_no_report_can_hold_are_named_on_the_page(practice: Practice) -> None:
    for case_id in (CT_ID, OTHER_CT_ID):
        found = practice.store.list_findings(case_id)[0].finding.finding_id
        practice.store.decide(Decision(case_id, found, "accept", "Lee"))
    practice.ct.files[0].unlink()
    page = prepare_reports()
    assert "Scans with agreed nodules that are left out: 1" in said(page)
    assert f"{CT_ID}: chest: 1 of its 20 files are gone" in said(page)
    shutil.rmtree(practice.ct.root)
    assert "Not exported: no SR can be written for any of the 2 scans" in said(prepare_reports())


@pytest.mark.slow
def test_a_finding_is_explained_when_a_reader_asks(practice: Practice, models: Path) -> None:
    page = press(open_page(IMAGE_ID, reader="Lee"), "Show where it looked")
    assert "What speaks for scratch" in said(page)
    assert "of 8 maps of noise" in said(page)
    run = practice.workspace.latest_run("explain")
    assert run is not None
    assert json.loads((run / "explanation.json").read_text())["case_id"] == IMAGE_ID
