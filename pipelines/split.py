"""Split a data set so that nothing leaks, or judge the split that is there.

Labels -> images, each decoded once -> duplicates -> groups -> split -> leaks -> report.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from medvit.data.duplicates.groups import connected
from medvit.data.labels.formats import read_labels
from medvit.data.labels.label_set import LabelSet, Problem
from medvit.data.manifest import ManifestRow, write_manifest
from medvit.data.splits import SplitShares, split_by_group, unseen_classes
from medvit.errors import ConfigError, NothingToDoError
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.run_record import write_run_record

if TYPE_CHECKING:
    from medvit.data.duplicates.search import Duplicate
    from medvit.data.duplicates.surfaces import Surface, Unreadable

Progress = Callable[[float, float, str], None]
Method = Literal["near-duplicates", "pattern", "column"]


class SplitSettings(Settings):
    """What is split or judged, and how.

    Attributes:
        source: A manifest, a folder, or labels in any format of `labels import`.
        out: Manifest to write; by default `<name>-split.csv` in the working folder.
        images: Folder of the images where it is not beside the labels.
        check: Judge the split that is there; nothing is moved.
        pattern: For `group_by=pattern`: a regular expression whose first group names the group.
        allow_leaks: Write a split although duplicates cross it.
    """

    source: Path
    out: Path | None = None
    images: Path | None = None
    check: bool = False
    group_by: Method = "near-duplicates"
    pattern: str = ""
    turned: bool = False
    allow_leaks: bool = False
    val: float = Field(0.15, ge=0, lt=1)
    test: float = Field(0.20, ge=0, lt=1)
    salt: str = "medvit"


@dataclass(frozen=True, slots=True)
class Leak:
    """Two images on different sides that belong together."""

    first: str
    second: str
    first_split: str
    second_split: str
    kind: str
    share: float | None = None
    correlation: float | None = None


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What was split or judged.

    Attributes:
        manifest: The file that was written, or judged; None when a leaking split was refused.
        groups: How many groups there are, single images included.
    """

    manifest: Path | None
    groups: int
    leaks: tuple[Leak, ...]
    duplicates: int
    problems: tuple[Problem, ...]
    counts: dict[str, int]
    moved: int
    run: Path

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "manifest": None if self.manifest is None else str(self.manifest),
            "groups": self.groups,
            "leaks": [asdict(leak) for leak in self.leaks],
            "duplicates": self.duplicates,
            "problems": [asdict(problem) for problem in self.problems],
            "counts": self.counts,
            "moved": self.moved,
            "report": str(self.run / "report.html"),
            "run": str(self.run),
        }


def run(
    settings: SplitSettings, workspace: Workspace, *, progress: Progress | None = None
) -> SplitResult:
    """Split, or judge a split; write the report and, unless it leaks, the manifest.

    Raises:
        NothingToDoError: If there is no readable image, or no split to judge.
        ConfigError: If the pattern does not fit.
    """
    shares = _shares(settings)
    labels = read_labels(settings.source, images=settings.images, may_straddle=True)
    rows = [image.row for image in labels.images]
    if settings.check and not any(row.split for row in rows):
        msg = f"{settings.source}: no image has a split, so there is none to judge"
        raise NothingToDoError(msg, hint="run `medvit split` without --check first")
    named = _named_groups(rows, settings)
    surfaces, broken, duplicates = _search(settings, labels, progress)
    edges = [(each.first, each.second) for each in duplicates]
    if settings.group_by == "near-duplicates" or settings.check:
        named = _joined(rows, named, edges)
    before = {row.path: row.split for row in rows}
    if not settings.check:
        grouped = [replace(row, group=named.get(row.path, "")) for row in rows]
        rows = list(split_by_group(grouped, shares=shares))
    moved = sum(1 for row in rows if before[row.path] not in ("", row.split))
    leaks = find_leaks(rows, duplicates)
    problems = [*labels.problems, *(Problem(each.path, each.message) for each in broken)]
    problems += find_problems(rows, duplicates)
    folder = workspace.new_run("split")
    manifest = _write(settings, labels, rows, leaks)
    result = SplitResult(
        manifest,
        len({named.get(row.path) or row.path for row in rows}),
        leaks,
        len(duplicates),
        tuple(dict.fromkeys(problems)),
        dict(Counter(row.split or "none" for row in rows)),
        moved,
        folder,
    )
    _report(settings, result, rows, surfaces, duplicates)
    return result


def _search(
    settings: SplitSettings, labels: LabelSet, progress: Progress | None
) -> tuple[list[Surface], list[Unreadable], list[Duplicate]]:
    """Return the images that can be read, those that cannot, and pairs that belong together."""
    from medvit.data.duplicates.search import SearchSettings, find_duplicates
    from medvit.data.duplicates.surfaces import read_surfaces

    paths = [image.row.path for image in labels.images]
    surfaces, broken = read_surfaces(labels.root, paths, progress=progress)
    if not surfaces:
        msg = f"{settings.source}: not one of {len(paths)} images can be read"
        raise NothingToDoError(msg, hint=broken[0].message if broken else "check --images")
    search = SearchSettings(turned=settings.turned)
    return surfaces, broken, find_duplicates(surfaces, settings=search, progress=progress)


def find_leaks(rows: Sequence[ManifestRow], duplicates: Sequence[Duplicate]) -> tuple[Leak, ...]:
    """Return every duplicate that crosses the split, then groups that straddle it."""
    split_of = {row.path: row.split for row in rows}
    leaks = [
        Leak(
            each.first,
            each.second,
            split_of[each.first],
            split_of[each.second],
            each.kind,
            each.share,
            each.correlation,
        )
        for each in duplicates
        if _crosses(split_of[each.first], split_of[each.second])
    ]
    known = {(leak.first, leak.second) for leak in leaks}
    first_of: dict[tuple[str, str], ManifestRow] = {}
    for row in rows:
        if not (row.group and row.split):
            continue
        first_of.setdefault((row.group, row.split), row)
        for (group, split), other in first_of.items():
            pair = other.path, row.path
            if group == row.group and split != row.split and pair not in known:
                leaks.append(Leak(*pair, split, row.split, "group"))
                break
    return tuple(leaks)


def find_problems(rows: Sequence[ManifestRow], duplicates: Sequence[Duplicate]) -> list[Problem]:
    """Return labels that contradict each other, and classes that nothing is trained on."""
    label_of = {row.path: row.label for row in rows}
    problems = [
        Problem(
            each.second,
            f"the same pixels as {each.first}, but labelled {label_of[each.second]!r} "
            f"there and {label_of[each.first]!r} here",
        )
        for each in duplicates
        if each.kind == "exact" and label_of[each.first] != label_of[each.second]
    ]
    unseen = "the class is judged on but has no training image"
    return problems + [Problem(name, unseen) for name in unseen_classes(rows)]


def _crosses(first: str, second: str) -> bool:
    return bool(first and second) and first != second


def _shares(settings: SplitSettings) -> SplitShares:
    try:
        return SplitShares(val=settings.val, test=settings.test, salt=settings.salt)
    except ValueError as error:
        raise ConfigError(str(error), hint="give smaller --val and --test") from error


def _named_groups(rows: Sequence[ManifestRow], settings: SplitSettings) -> dict[str, str]:
    """Return the group of every image that has one, by pattern or column."""
    if settings.group_by != "pattern":
        return {row.path: row.group for row in rows if row.group}
    try:
        pattern = re.compile(settings.pattern)
    except re.error as error:
        msg = f"--pattern {settings.pattern!r} is no regular expression: {error}"
        raise ConfigError(msg, hint=r"for example '(.*)_\d+'") from error
    matches = {row.path: pattern.search(row.path) for row in rows}
    if pattern.groups != 1 or not any(matches.values()):
        found = sum(1 for match in matches.values() if match)
        msg = (
            f"--pattern {settings.pattern!r} must have one (group) and match file names, "
            f"got {pattern.groups} groups and {found} of {len(rows)} names"
        )
        raise ConfigError(msg, hint=f"a name is {rows[0].path!r}")
    return {path: match.group(1) for path, match in matches.items() if match and match.group(1)}


def _joined(
    rows: Sequence[ManifestRow], named: dict[str, str], edges: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """Return groups that unite the named ones with duplicates."""
    first: dict[str, str] = {}
    same = [(path, first.setdefault(group, path)) for path, group in named.items()]
    return connected([row.path for row in rows], [*same, *edges])


def _write(
    settings: SplitSettings, labels: LabelSet, rows: Sequence[ManifestRow], leaks: Sequence[Leak]
) -> Path | None:
    if settings.check:
        return settings.source
    if leaks and not settings.allow_leaks:
        return None
    out = settings.out or Path(f"{settings.source.resolve().stem}-split.csv")
    moved = [replace(row, path=path_from(out, labels.root / row.path)) for row in rows]
    write_manifest(out, moved, labels.soft_classes)
    return out


def path_from(manifest: Path, image: Path) -> str:
    """Return the path of an image relative to the folder of a manifest."""
    return Path(os.path.relpath(image.absolute(), manifest.absolute().parent)).as_posix()


def _report(
    settings: SplitSettings,
    result: SplitResult,
    rows: Sequence[ManifestRow],
    surfaces: Sequence[Surface],
    duplicates: Sequence[Duplicate],
) -> None:
    from medvit.report.splits import SplitSummary, write_pairs, write_split_report

    summary = SplitSummary(
        source=settings.source.name,
        is_check=settings.check,
        groups=result.groups,
        unreadable=len(rows) - len(surfaces),
        problems=tuple((each.file, each.message) for each in result.problems),
    )
    write_pairs(result.run / "pairs.csv", rows, duplicates)
    write_split_report(result.run / "report.html", summary, rows, duplicates, surfaces)
    record = {
        "command": "split",
        "state": "done",
        "settings": settings.model_dump(mode="json"),
        "device": "cpu",
        "counts": {**result.counts, "groups": result.groups, "leaks": len(result.leaks)},
        "failures": [asdict(problem) for problem in result.problems],
    }
    write_run_record(result.run, record)
