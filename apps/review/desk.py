"""What lies on the desk of a reader: one case with everything that was said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.review import session
from apps.review.access import case_of
from apps.review.ahead import open_ahead
from apps.review.classes import class_names
from apps.review.ct_routes import open_pile
from apps.review.items import Item, items_of
from apps.review.notices import sentence
from apps.review.worklist import next_case
from medvit.errors import ReadError
from medvit.store.rows import CaseRow, CaseSignal, DecisionRow
from medvit.store.store import Store
from medvit.volume.volume import Volume

NOT_EXAMINED = ("refuse", "fail")
TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Desk:
    """One case, open for review.

    Attributes:
        items: What can be decided, in the order of the list.
        chosen: The one that buttons and keys act on.
        signals: Why the case is in a queue, strongest first.
        follower: Id of the next case to review; empty when there is none.
        volume: Of a CT case that can be opened.
        failure: Why the pixels cannot be shown; empty when they can.
    """

    case: CaseRow
    items: Sequence[Item]
    chosen: Item
    decisions: Sequence[DecisionRow]
    classes: Sequence[str]
    signals: Sequence[CaseSignal]
    follower: str
    volume: Volume | None
    failure: str

    @property
    def position(self) -> int:
        """Index of the chosen item in the list."""
        return [item.target for item in self.items].index(self.chosen.target)

    @property
    def is_done(self) -> bool:
        """Whether nothing of the case waits for a decision."""
        return all(item.state != "new" for item in self.items)

    @property
    def has_pixels(self) -> bool:
        """Whether there is something to look at: an image too large for a model is shown."""
        large = self.case.kind == "image" and self.case.reason == TOO_LARGE
        return large or self.case.verdict not in NOT_EXAMINED

    @property
    def about(self) -> str:
        """Name of what the panel is drawn for: the chosen item as it stands now."""
        return f"{self.chosen.target or self.case.case_id}_{self.chosen.version}"


def lay_desk(store: Store, case: CaseRow) -> Desk:
    """Return a case with all that the review page shows of it.

    Raises:
        StoreError: If the store cannot be read.
    """
    rows, decisions = store.list_findings(case.case_id), store.list_decisions(case.case_id)
    volume, failure = _open(case)
    items = items_of(case, rows, None if volume is None else volume.shape[0])
    wanted = session.chosen(case.case_id)
    undecided = next((item for item in items if item.state == "new"), items[0])
    chosen = next((item for item in items if item.target == wanted), undecided)
    session.choose(case.case_id, chosen.target)
    follower = next_case(store, case)
    open_ahead([follower] if follower else [])
    return Desk(
        case=case,
        items=items,
        chosen=chosen,
        decisions=decisions,
        classes=class_names(case, rows),
        signals=store.signals_of(case.case_id),
        follower=follower.case_id if follower else "",
        volume=volume,
        failure=failure,
    )


def _open(case: CaseRow) -> tuple[Volume | None, str]:
    """Return the volume of a CT case, or the sentence that says why there is none."""
    if case.kind == "image" or case.verdict in NOT_EXAMINED:
        return None, ""
    try:
        return open_pile(case_of(case)).volume, ""
    except ReadError as error:
        return None, f"The pixels of this case cannot be read: {sentence(error)}"
    except OSError as error:
        return None, f"The files of this case cannot be read: {error.strerror or error}"
