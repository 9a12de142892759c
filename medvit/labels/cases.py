"""What the readers of a case agree on: its label, and each finding as real, wrong or open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from medvit.labels.consensus import Method, Verdict, Vote, settle
from medvit.labels.opinions import WHOLE, Geometry, Opinion, Proposal, ReviewedCase, Says
from medvit.labels.places import is_same_place, middle

Standing = Literal["is", "not", "open"]

NOT = ""
"""The answer of a reader who holds a proposal to be wrong and names nothing instead."""

NODULE = "nodule"


@dataclass(frozen=True, slots=True)
class Source:
    """One row of provenance: who said what of what, and who had proposed it.

    Attributes:
        finding_id: `WHOLE` for the label of an image.
        label: What was settled; empty for a wrong proposal.
        answer: What this reader said.
        proposed_by: `name@version`; empty where a reader added it.
    """

    case_id: str
    finding_id: str
    label: str
    reader: str
    answer: str
    decided_at: datetime
    decision: int
    proposed_by: str
    proposed: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A finding as the readers left it.

    Attributes:
        standing: `is` a training target, `not` a hard negative, `open` counts neither way.
    """

    finding_id: str
    standing: Standing
    label: str
    geometry: Geometry | None


@dataclass(frozen=True, slots=True)
class Dispute:
    """Something that the readers do not agree on, for the queue."""

    case_id: str
    finding_id: str
    votes: Mapping[str, int]
    confidence: float

    @property
    def reason(self) -> str:
        """A sentence for the queue."""
        if sum(self.votes.values()) == 1:
            return f"its only reader agrees with the others too rarely ({self.confidence:.0%})"
        said = ", ".join(
            f"{count} x {answer or 'wrong'}" for answer, count in sorted(self.votes.items())
        )
        return f"readers disagree: {said}"


@dataclass(frozen=True, slots=True)
class SettledCase:
    """A case with all that its readers agree on.

    Attributes:
        label: Of an image; empty where nothing was settled, and for CT.
    """

    case_id: str
    label: str
    marks: tuple[Mark, ...]
    sources: tuple[Source, ...] = ()
    disputes: tuple[Dispute, ...] = field(default=())

    @property
    def is_labelled(self) -> bool:
        """Whether there is anything to learn from."""
        return bool(self.label) or any(mark.standing != "open" for mark in self.marks)


def votes_of(cases: Iterable[ReviewedCase]) -> list[Vote]:
    """Return all opinions as votes; who is unsure does not vote."""
    return [
        Vote(_item(case, opinion.subject), opinion.reader, _answer(case, opinion))
        for case in cases
        for opinion in case.opinions
        if opinion.says != "unsure"
    ]


def settle_case(
    case: ReviewedCase, skills: Mapping[str, float], *, method: Method = "weighted"
) -> SettledCase:
    """Return what the readers of a case agree on.

    Args:
        skills: Of all readers, as `reader_skills` gives them.
        method: As of `settle`.
    """
    marks: list[Mark] = []
    sources: list[Source] = []
    disputes: list[Dispute] = []
    label = ""
    for proposal, opinions in _questions(case):
        voting = [opinion for opinion in opinions if opinion.says != "unsure"]
        verdict = _verdict(case, voting, skills, method)
        if proposal.finding_id == WHOLE:
            label = verdict.answer if verdict and verdict.is_settled else ""
        else:
            marks.append(_mark(case, proposal, voting, verdict))
        if verdict is None:
            continue
        if verdict.is_settled:
            sources += [_source(case, proposal, opinion, verdict) for opinion in voting]
        else:
            votes, sure = verdict.votes, verdict.confidence
            disputes.append(Dispute(case.case_id, proposal.finding_id, votes, sure))
    return SettledCase(case.case_id, label, tuple(marks), tuple(sources), tuple(disputes))


def is_nodule(label: str) -> bool:
    """Whether a label of a bright spot in a lung names a nodule.

    Examples:
        >>> is_nodule("ground-glass nodule"), is_nodule("vessel")
        (True, False)
    """
    return NODULE in label.casefold().split()


def _questions(case: ReviewedCase) -> list[tuple[Proposal, list[Opinion]]]:
    """Return what is to be settled with the opinions on it.

    What several readers added at one place is one question; for an image as a whole a
    reader who said nothing of it counts with what they said of its findings.
    """
    questions: list[tuple[Proposal, list[Opinion]]] = []
    for proposal in case.proposals:
        opinions = case.about(proposal.finding_id)
        for other, gathered in questions:
            if _is_same(proposal, other):
                known = {opinion.reader for opinion in gathered}
                gathered += [opinion for opinion in opinions if opinion.reader not in known]
                break
        else:
            questions.append((proposal, opinions))
    if case.kind == "image":
        whole = case.whole or Proposal(WHOLE, "", None, "")
        questions.append((whole, _on_the_whole(case)))
    return questions


def _is_same(proposal: Proposal, other: Proposal) -> bool:
    if proposal.model or other.model or proposal.geometry is None or other.geometry is None:
        return False
    return proposal.label == other.label and is_same_place(proposal.geometry, other.geometry)


def _on_the_whole(case: ReviewedCase) -> list[Opinion]:
    spoken = {opinion.reader: opinion for opinion in case.about(WHOLE)}
    for reader in dict.fromkeys(opinion.reader for opinion in case.opinions):
        if reader not in spoken:
            spoken[reader] = _implied([o for o in case.opinions if o.reader == reader])
    return sorted(spoken.values(), key=lambda opinion: opinion.decision)


def _implied(own: Sequence[Opinion]) -> Opinion:
    """Return what a reader's opinions on findings say of the image: its most frequent label."""
    last = max(own, key=lambda opinion: opinion.decision)
    counts = Counter(opinion.label for opinion in own if opinion.says == "is")
    if counts:
        label = max(counts, key=lambda name: counts[name])
        return Opinion(WHOLE, last.reader, "is", label, None, last.decided_at, last.decision)
    says: Says = "unsure" if any(opinion.says == "unsure" for opinion in own) else "not"
    return Opinion(WHOLE, last.reader, says, "", None, last.decided_at, last.decision)


def _verdict(
    case: ReviewedCase, voting: Sequence[Opinion], skills: Mapping[str, float], method: Method
) -> Verdict | None:
    votes = [Vote("", opinion.reader, _answer(case, opinion)) for opinion in voting]
    return settle(votes, skills, method=method)[""] if votes else None


def _answer(case: ReviewedCase, opinion: Opinion) -> str:
    if opinion.says == "not":
        return NOT
    if case.kind == "ct":
        return NODULE if is_nodule(opinion.label) else NOT
    return opinion.label


def _mark(
    case: ReviewedCase, proposal: Proposal, voting: Sequence[Opinion], verdict: Verdict | None
) -> Mark:
    if verdict is None or not verdict.is_settled:
        return Mark(proposal.finding_id, "open", proposal.label, proposal.geometry)
    if verdict.answer == NOT:
        return Mark(proposal.finding_id, "not", proposal.label, proposal.geometry)
    agreeing = [opinion for opinion in voting if _answer(case, opinion) == verdict.answer]
    placed = [opinion.geometry for opinion in agreeing if opinion.geometry is not None]
    geometry = middle(placed) if placed else proposal.geometry
    return Mark(proposal.finding_id, "is", verdict.answer, geometry)


def _source(case: ReviewedCase, proposal: Proposal, opinion: Opinion, verdict: Verdict) -> Source:
    return Source(
        case_id=case.case_id,
        finding_id=proposal.finding_id,
        label=verdict.answer,
        reader=opinion.reader,
        answer=opinion.label if opinion.says == "is" else NOT,
        decided_at=opinion.decided_at,
        decision=opinion.decision,
        proposed_by=proposal.model,
        proposed=proposal.label,
        confidence=verdict.confidence,
    )


def _item(case: ReviewedCase, subject: str) -> str:
    return f"{case.case_id}\0{subject}"
