"""The page of labels: how many of which, which look wrong, who agrees, and the way out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import streamlit as st

from apps.review import session
from apps.review.access import open_store, workspace
from apps.review.notices import sentence, tell
from apps.review.signin import actor
from apps.review.tables import draw_table
from medvit.errors import MedvitError
from medvit.store.label_counts import label_counts, suspects
from medvit.store.roles import Actor
from pipelines.labels_import import ExportFormat, ExportSettings, export

FORMATS: dict[ExportFormat, tuple[str, str]] = {
    "coco": ("COCO", "labels.json"),
    "voc": ("Pascal VOC", "labels-voc"),
    "manifest": ("Manifest", "manifest.csv"),
    "luna16": ("LUNA16 CSV", "annotations.csv"),
    "sr": ("DICOM SR", "labels-sr"),
}
"""Name for people, and the file or folder that is written."""

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Exported:
    """An export, ready to be downloaded.

    Attributes:
        name: Of the file.
        left_out: Scans that are not in it, with the reason, as sentences.
    """

    name: str
    content: bytes
    left_out: tuple[str, ...] = ()


def show_labels() -> None:
    """Draw the distribution, suspects, agreement and export."""
    who, url = actor(), workspace().store_url
    counted = label_counts(url)
    total = max(1, sum(images for _, images, _ in counted))
    draw_table(
        "labels",
        "Labels of images as they stand now",
        ("Label", "#Images", "#Share", "#Reviewed"),
        [[label, images, f"{images / total:.1%}", done] for label, images, done in counted],
        empty="No image has a label yet. Scan images, or run medvit labels import.",
    )
    draw_table(
        "suspects",
        "Labels in doubt, most suspicious first",
        ("Case", "#Doubt", "Why"),
        [[case, f"{value:.2f}", why] for case, value, why in suspects(url)],
        empty="No label is in doubt. medvit retrain looks for them as it learns.",
    )
    draw_table(
        "kappa",
        "Agreement between readers",
        ("Readers", "#Shared", "#Equal", "#Cohen's kappa"),
        [
            [" and ".join(pair.readers), pair.shared, f"{pair.equal / pair.shared:.0%}",
             None if pair.kappa is None else f"{pair.kappa:.2f}"]
            for pair in open_store().agreement()
        ],
        empty="No two readers have decided about the same finding yet.",
    )  # fmt: skip
    _draw_export(who)


def _draw_export(who: Actor) -> None:
    if not who.may("export"):
        tell("Exporting labels needs the role lead.", tone="notice")
        return
    st.space("small")
    choice, button, file = st.columns([2, 1, 1], vertical_alignment="bottom")
    chosen = choice.selectbox(
        "Export what readers agree on as",
        list(FORMATS),
        format_func=lambda name: FORMATS[name][0],
        key="export_format",
    )
    button.button("Prepare", on_click=partial(_prepare, who, chosen), width="stretch")
    made = st.session_state.get("exported")
    if made is not None and made[0] == chosen:
        ready: Exported = made[1]
        file.download_button("Download", ready.content, file_name=ready.name, width="stretch")
        _tell_left_out(ready.left_out)
    st.text(
        "DICOM SR holds only what readers confirmed. SR and SEG of all that the model found are "
        "written by a scan: medvit scan SOURCE --out DIR --write sr,seg"
    )


def _tell_left_out(left_out: Sequence[str]) -> None:
    """Say which scans are missing; who may export may see their names."""
    if left_out:
        more = len(left_out) - SHOWN
        lines = [
            f"Scans with agreed nodules that are left out: {len(left_out)}",
            *left_out[:SHOWN],
            *([f"... and {more} more"] if more > 0 else []),
        ]
        tell("\n".join(lines), tone="caution")


def _prepare(who: Actor, chosen: ExportFormat) -> None:
    st.session_state.pop("exported", None)
    try:
        open_store().authorise(who, "export", FORMATS[chosen][0])
        st.session_state["exported"] = (chosen, exported(chosen))
    except MedvitError as error:
        session.refuse(f"Not exported: {sentence(error)}")


def exported(chosen: ExportFormat) -> Exported:
    """Return the name and the bytes of an export; a folder comes as one ZIP file.

    Raises:
        NothingToDoError: If there is no label to write, or none that the format can hold.
        InputError: If the format needs boxes or image sizes that are not there.
    """
    with tempfile.TemporaryDirectory(prefix="medvit-export-") as folder:
        out = Path(folder) / FORMATS[chosen][1]
        answer = export(ExportSettings(out=out, format=chosen), workspace())
        if out.is_dir():
            out = Path(shutil.make_archive(str(out), "zip", out))
        missing = [f"{each['case_id']}: {each['message']}" for each in answer.get("left_out", ())]
        return Exported(out.name, out.read_bytes(), tuple(missing))
