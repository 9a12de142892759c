"""The page of labels: how many of which, which look wrong, who agrees, and the way out."""

from __future__ import annotations

import shutil
import tempfile
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
}
"""Name for people, and the file or folder that is written."""


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
        _, name, content = made
        file.download_button("Download", content, file_name=name, width="stretch")
    st.text("DICOM SR and SEG are written by a scan: medvit scan SOURCE --out DIR --write sr,seg")


def _prepare(who: Actor, chosen: ExportFormat) -> None:
    st.session_state.pop("exported", None)
    try:
        open_store().authorise(who, "export", FORMATS[chosen][0])
        st.session_state["exported"] = (chosen, *exported(chosen))
    except MedvitError as error:
        session.refuse(f"Not exported: {sentence(error)}")


def exported(chosen: ExportFormat) -> tuple[str, bytes]:
    """Return the name and the bytes of an export; a folder comes as one ZIP file.

    Raises:
        NothingToDoError: If there is no label to write.
        InputError: If the format needs boxes or image sizes that are not there.
    """
    with tempfile.TemporaryDirectory(prefix="medvit-export-") as folder:
        out = Path(folder) / FORMATS[chosen][1]
        export(ExportSettings(out=out, format=chosen), workspace())
        if out.is_dir():
            out = Path(shutil.make_archive(str(out), "zip", out))
        return out.name, out.read_bytes()
