"""The leak report of a split: pairs that belong together, side by side, in one file."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medvit.atomic import write_bytes, write_text
from medvit.data.duplicates.search import Duplicate, turned
from medvit.data.duplicates.surfaces import Surface
from medvit.data.manifest import ManifestRow
from medvit.report.markup import Html, tag
from medvit.report.thumbnails import data_uri

HERE = Path(__file__).resolve().parent
MOST_PAIRS = 120
"""Pairs that are shown; `pairs.csv` holds all."""

SHOWN_PX = 200
GAP_PX = 8
MARK = (255, 158, 0)
PAIR_COLUMNS = ("first", "second", "first_split", "second_split", "kind", "share", "correlation")
SHIFT_COLUMNS = ("shift_y_px", "shift_x_px", "turn")


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What the head of the report says.

    Attributes:
        problems: File and sentence of everything that was not as it should be.
    """

    source: str
    is_check: bool
    groups: int
    unreadable: int
    problems: tuple[tuple[str, str], ...]


def write_pairs(path: Path, rows: Sequence[ManifestRow], duplicates: Sequence[Duplicate]) -> None:
    """Write all pairs as a CSV."""
    split_of = {row.path: row.split for row in rows}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((*PAIR_COLUMNS, *SHIFT_COLUMNS))
    for each in duplicates:
        sides = split_of[each.first], split_of[each.second]
        numbers = f"{each.share:.4f}", f"{each.correlation:.4f}"
        writer.writerow(
            (each.first, each.second, *sides, each.kind, *numbers, *each.shift, each.turn)
        )
    write_text(path, stream.getvalue())


def write_split_report(
    path: Path,
    summary: SplitSummary,
    rows: Sequence[ManifestRow],
    duplicates: Sequence[Duplicate],
    surfaces: Sequence[Surface],
) -> None:
    """Write the report; it needs no other file and no network. Pairs that leak come first."""
    split_of = {row.path: row.split for row in rows}
    grey_of = {surface.path: surface for surface in surfaces}

    def leaks(each: Duplicate) -> bool:
        sides = {split_of[each.first], split_of[each.second]} - {""}
        return len(sides) > 1

    ordered = sorted(duplicates, key=lambda each: (not leaks(each), -each.share))
    leaking = sum(map(leaks, duplicates))
    cards = [_card(each, split_of, grey_of, is_leak=leaks(each)) for each in ordered[:MOST_PAIRS]]
    capped = f"{len(cards)} of {len(ordered)} pairs are shown; pairs.csv holds all."
    body = tag(
        "main",
        tag("p", "medvit", tag("span", "leak report of a split"), class_="brand"),
        tag("h1", summary.source),
        _verdict(summary, leaking),
        _tiles(summary, rows, len(duplicates), leaking),
        _sides(rows),
        _problems(summary),
        tag(
            "section",
            tag("h2", "Images that belong together"),
            tag("p", PAIRS, class_="quiet"),
            tag("div", *cards, class_="cards"),
            tag("p", capped, class_="quiet capped"),
        ),
    )
    title = f"medvit leak report: {summary.source}"
    write_bytes(path, styled_page(title, body).encode())


PAIRS = (
    "Each pair shows the same piece of surface: exact copies, or crops that overlap where the "
    "frame is drawn. Correlation is measured inside the frames at full resolution, without slow "
    "changes of brightness."
)


def _verdict(summary: SplitSummary, leaking: int) -> Html:
    if leaking:
        text = (
            f"This split leaks: {leaking} pairs lie on different sides. Figures would be too good."
        )
        return tag("p", text, class_="warning")
    judged = "This split" if summary.is_check else "The split that was made"
    return tag("p", f"{judged} keeps all {summary.groups} groups whole.", class_="when")


def _tiles(summary: SplitSummary, rows: Sequence[ManifestRow], pairs: int, leaking: int) -> Html:
    figures = {
        "images": (len(rows), ""),
        "groups": (summary.groups, ""),
        "pairs that belong together": (pairs, "tile-findings"),
        "pairs that leak": (leaking, "tile-refuse"),
        "unreadable": (summary.unreadable, "tile-refuse"),
        "remarks": (len(summary.problems), "tile-repair"),
    }
    tiles = [
        tag(
            "div",
            tag("b", count),
            tag("span", name),
            class_=f"tile {kind if count else 'tile-zero'}",
        )
        for name, (count, kind) in figures.items()
    ]
    return tag("div", *tiles, class_="tiles")


def _sides(rows: Sequence[ManifestRow]) -> Html:
    counts = Counter((row.label or "unlabelled", row.split or "none") for row in rows)
    splits = [
        name for name in ("train", "val", "test", "none") if any(s == name for _, s in counts)
    ]
    labels = sorted({label for label, _ in counts})
    head = tag("tr", tag("th", "class"), *(tag("th", name) for name in splits))
    lines = [
        tag("tr", tag("td", label), *(tag("td", counts[label, s], class_="number") for s in splits))
        for label in labels
    ]
    table = tag("table", tag("thead", head), tag("tbody", *lines), class_="sides")
    return tag("section", tag("h2", "Images a class and side"), table)


def _problems(summary: SplitSummary) -> Html | None:
    if not summary.problems:
        return None
    lines = [tag("tr", tag("td", tag("code", f)), tag("td", m)) for f, m in summary.problems[:200]]
    head = tag("thead", tag("tr", tag("th", "file"), tag("th", "remark")))
    shown = f"{len(lines)} of {len(summary.problems)} remarks."
    table = tag("table", head, tag("tbody", *lines))
    return tag("section", tag("h2", "Remarks"), tag("p", shown, class_="quiet"), table)


def _card(
    each: Duplicate,
    split_of: Mapping[str, str],
    surfaces: Mapping[str, Surface],
    *,
    is_leak: bool,
) -> Html:
    picture = pair_picture(each, surfaces[each.first], surfaces[each.second])
    facts = f"{each.share:.0%} of the area, correlation {each.correlation:.3f}"
    if each.kind == "exact":
        facts = "the same pixels"
    if each.turn != "none":
        facts += f", second one turned: {each.turn}"
    names = [
        tag(
            "p",
            tag("span", path, class_="source"),
            tag("span", split_of[path] or "none", class_="count"),
        )
        for path in (each.first, each.second)
    ]
    pill = tag(
        "span",
        "leaks" if is_leak else "same side",
        class_=f"pill pill-{'refuse' if is_leak else 'accept'}",
    )
    caption = tag("figcaption", *names, tag("p", tag("span", facts), pill))
    return tag(
        "figure",
        tag("img", src=data_uri(picture), alt=f"{each.first} beside {each.second}"),
        caption,
        class_="card",
    )


def pair_picture(each: Duplicate, first: Surface, second: Surface) -> bytes:
    """Return two images side by side with their overlap framed, as a JPEG."""
    two = turned(second.grey, each.turn)
    row, column = each.shift[0] // first.step, each.shift[1] // first.step
    views = [
        _framed(first.grey, (row, column), two.shape),
        _framed(two, (-row, -column), first.grey.shape),
    ]
    strip = Image.new("RGB", (2 * SHOWN_PX + GAP_PX, SHOWN_PX), (255, 255, 255))
    for number, view in enumerate(views):
        strip.paste(view, (number * (SHOWN_PX + GAP_PX), 0))
    stream = io.BytesIO()
    strip.save(stream, "JPEG", quality=80, optimize=True)
    return stream.getvalue()


def _framed(grey: NDArray[np.uint8], shift: tuple[int, int], other: tuple[int, ...]) -> Image.Image:
    scale = SHOWN_PX / max(grey.shape)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    view = Image.fromarray(grey).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    top, left = (max(at, 0) * scale for at in shift)
    bottom, right = (
        min(length, at + reach) * scale - 1
        for length, at, reach in zip(grey.shape, shift, other, strict=True)
    )
    if bottom > top and right > left:
        ImageDraw.Draw(view).rectangle((left, top, right, bottom), outline=MARK, width=2)
    return view


def styled_page(title: str, body: Html, *, own_style: str = "") -> str:
    """Return a page in the style of the reports; nothing in it is loaded from elsewhere."""
    style = Html((HERE / "report.css").read_text(encoding="utf-8") + own_style)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", style),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', body), lang='en')}\n"
