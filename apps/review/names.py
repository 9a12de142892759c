"""What a reader sees of the name of a case: folders of scans may be called after patients."""

from __future__ import annotations

from medvit.store.roles import Actor
from medvit.store.rows import CaseRow

HIDDEN = "named only to leads"


def shown_name(row: CaseRow, actor: Actor) -> str:
    """Return the source of a case, or its id where the source may name a patient.

    Images of parts have no patient; the folder and file names of scans may.
    """
    if row.kind != "ct" or actor.may("see_names"):
        return row.source
    return nameless(row)


def nameless(row: CaseRow) -> str:
    """Return what stands for the name of a scan where names are hidden."""
    return f"CT {row.case_id.removeprefix('ct-')[:8]}"


def shown_message(row: CaseRow, actor: Actor) -> str:
    """Return what triage said of a case, without the file names that it quotes."""
    if row.kind != "ct" or actor.may("see_names"):
        return row.message
    return f"{row.reason} ({HIDDEN})" if row.message else ""
