"""The report: whole, escaped, alone, and small."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from medvit.findings.finding import CaseResult
from medvit.io.case import Case
from medvit.report.html import PICTURES_MAX_BYTES, report, write_report
from medvit.report.summary import ModelUsed, ReportSummary
from medvit.report.thumbnails import data_uri
from tests.make.results import ct_result, image_result, refused

JPEG = b"\xff\xd8\xff" + bytes(60)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<b>"
STRANGE = {"near": 0.2, "usual": -3.0, "far": 7.0}
SUMMARY = ReportSummary(
    sources=("patients",),
    models=(ModelUsed("nodule", "n@1", "a" * 64), ModelUsed("defect", "d@2", "b" * 64)),
    settings={"task": "auto", "sources": ["patients"], "model": None},
    finished_at=datetime(2026, 3, 4, 15, 30, tzinfo=UTC),
    seconds=192.0,
    version="0.1.0",
    measured_peak_mb=812.0,
    predicted_peak_mb=1536.0,
    commit="0123456789abcdef",
    other_files=4,
    resumed=2,
)


class _Page(HTMLParser):
    """What a browser would build of a report."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _page(results: list[CaseResult], pictures: dict[str, bytes | str] | None = None) -> _Page:
    page = _Page(report(results, SUMMARY, pictures or {}))
    assert page.open == []
    return page


def _mixed() -> list[CaseResult]:
    repaired = replace(ct_result("r"), verdict="repair", reason="signedness", message="r: repaired")
    failed = replace(refused(ct_result("f"), message="f: decoder gave up"), verdict="fail")
    message = "c: 3 slices share a position; remove duplicates"
    broken = refused(ct_result("c"), reason="duplicate_positions;bad_value", message=message)
    return [broken, ct_result("a", 0.25, 0.75), image_result("b.png", box=True), repaired, failed]


def test_the_head_counts_cases_verdicts_and_findings() -> None:
    text = _page(_mixed()).text
    expected = "5 cases 2 accepted 1 repaired 1 refused 1 failed 3 findings"
    assert expected in text
    assert "4 March 2026, 15:30 UTC" in text
    assert "Research software, not a medical device." in text


def test_provenance_is_complete() -> None:
    text = _page(_mixed()).text
    for fact in (
        "n@1 sha256 " + "a" * 64,
        "d@2 sha256 " + "b" * 64,
        "medvit 0.1.0, commit 0123456789ab",
        "3 min 12 s on cpu; 2 cases taken over from an interrupted run",
        "812 MB peak, 1.50 GB predicted",
        "4 files that are no cases",
        "Settings (3)",
    ):
        assert fact in text


def test_what_was_not_measured_is_said() -> None:
    summary = replace(SUMMARY, measured_peak_mb=None, predicted_peak_mb=None, commit=None)
    text = _Page(report([], summary, {})).text
    assert "not measured peak" not in text
    assert "Memory not measured" in text
    assert "commit" not in text


def test_every_distrusted_case_has_its_sentence_worst_first() -> None:
    text = _page(_mixed()).text
    assert "c: 3 slices share a position; remove duplicates duplicate_positions bad_value" in text
    places = [text.index(words) for words in ("f: decoder gave up", "c: 3 slices", "r: repaired")]
    assert places == sorted(places)


def test_sound_cases_leave_nothing_to_distrust() -> None:
    assert "nothing was repaired, refused or failed" in _page([ct_result("a")]).text


def test_an_image_unlike_the_known_is_among_what_cannot_be_trusted_the_strangest_first() -> None:
    strange = [replace(image_result(f"{name}.png"), ood=ood) for name, ood in STRANGE.items()]
    page = _page([ct_result("a"), *strange])
    text = page.text
    assert "nothing was repaired" not in text
    assert text.count("Look at it before you trust its label.") == 2
    first = text.index("far.png unlike Unlike the images the model was trained on")
    assert first < text.index("near.png unlike Unlike the images")
    assert "usual.png unlike" not in text
    assert [own for own in page.texts if own == "unlike"] == 4 * ["unlike"]


def test_one_other_file_is_no_case() -> None:
    text = _Page(report([], replace(SUMMARY, other_files=1), {})).text
    assert "1 file that is no case" in text


def test_a_finding_card_says_where_a_nodule_is() -> None:
    result = ct_result("a", 0.75)
    page = _page([result], {result.findings[0].finding_id: JPEG})
    assert "1. nodule 0.750 Diameter 6.0 mm Slice 2 LPS mm 1.0, -2.5, 3.1" in page.text
    assert [image["src"] for image in page.all("img")] == [data_uri(JPEG)]


def test_findings_are_numbered_by_probability_and_listed_without_a_picture() -> None:
    result = ct_result("a", 0.25, 0.75)
    page = _page([result], {result.findings[1].finding_id: JPEG})
    assert "1. nodule 0.750" in page.text
    assert "1 more finding" in page.text
    assert "2 nodule 0.250 6.0 mm 2" in page.text


def test_a_scan_without_findings_says_so() -> None:
    assert "a 1.2.a no finding accepted" in _page([ct_result("a")]).text


def test_a_series_in_the_scanned_folder_itself_goes_by_the_name_of_the_folder() -> None:
    case = Case("ct-a", "ct", ".", Path("/somewhere/chest"), (), "1.2")
    text = _page([replace(ct_result("a"), case=case)]).text
    assert "chest 1.2 no finding" in text
    assert "somewhere" not in text


def test_an_image_row_has_label_probability_box_and_picture() -> None:
    page = _page([image_result("b.png", box=True)], {"im-b.png": JPEG})
    assert "b.png scratch 0.900 1, 2, 10, 20 accepted" in page.text
    assert len(page.all("img")) == 1
    assert "scratch 1 100.0%" in page.text


def test_refused_images_are_not_in_the_table_of_judged_ones() -> None:
    page = _page([refused(image_result("b.png"))])
    assert not [a for a in page.all("section") if a.get("id") == "images"]


def test_everything_hostile_stays_text() -> None:
    case = Case("im-1", "image", HOSTILE, Path("/data"), (), HOSTILE)
    image = replace(image_result("b.png", label=HOSTILE, box=True), case=case)
    scan = ct_result("a", 0.5)
    scan = replace(
        scan,
        case=replace(scan.case, source=HOSTILE, series_uid=HOSTILE),
        findings=(replace(scan.findings[0], label=HOSTILE),),
    )
    broken = refused(ct_result("c"), reason=HOSTILE, message=HOSTILE)
    summary = replace(
        SUMMARY,
        sources=(HOSTILE,),
        models=(ModelUsed(HOSTILE, HOSTILE, HOSTILE),),
        settings={HOSTILE: HOSTILE},
        notes=(HOSTILE,),
    )
    page = _Page(report([image, scan, broken], summary, {}))
    assert page.open == []
    assert page.all("img") == []
    assert len(page.all("script")) == 1
    assert page.texts.count(HOSTILE) >= 10


def test_nothing_is_asked_of_the_network(tmp_path: Path) -> None:
    result = ct_result("a", 0.5)
    write_report(tmp_path / "r.html", [result], SUMMARY, {result.findings[0].finding_id: JPEG})
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    page = _Page(text)
    (policy,) = [a for a in page.all("meta") if a.get("http-equiv")]
    assert str(policy["content"]).startswith(
        "default-src 'none'; img-src data:; style-src 'sha256-"
    )
    assert not page.all("link")
    for name, attributes in page.tags:
        assert "style" not in attributes, name
        assert not [key for key in attributes if key.startswith("on")]
        assert str(attributes.get("src", "data:")).startswith("data:")
        assert str(attributes.get("href", "#")).startswith("#")


def test_the_order_of_the_cases_does_not_matter() -> None:
    assert report(_mixed(), SUMMARY, {}) == report(_mixed()[::-1], SUMMARY, {})


@pytest.mark.slow
def test_a_report_of_a_thousand_images_stays_small_and_says_what_it_shows() -> None:
    results = [image_result(f"{number:04}.png", box=True) for number in range(1019)]
    heavy = b"\xff\xd8\xff" + bytes(9000)
    text = report(results, SUMMARY, {result.case.case_id: heavy for result in results})
    assert len(text) < 10_000_000
    shown = text.count("<img ")
    assert shown == PICTURES_MAX_BYTES // len(data_uri(heavy))
    assert f"Pictures are shown for {shown} of 1,019 to keep this file small." in text


def test_long_lists_are_capped_with_a_count() -> None:
    results = [refused(image_result(f"{number:04}.png")) for number in range(1001)]
    page = _page(results)
    assert "992 more cases" in page.text
    assert "Shown here: 1,000 of 1,001 cases. All of them are in cases.csv." in page.text


def test_the_best_finding_of_each_scan_gets_its_picture_first() -> None:
    results = [ct_result("a", 0.9, 0.8), ct_result("b", 0.1)]
    large = b"\xff\xd8\xff" + bytes(2_500_000)
    pictures: dict[str, bytes | str] = {
        finding.finding_id: large for result in results for finding in result.findings
    }
    text = report(results, SUMMARY, pictures)
    assert text.count("<figure") == 2
    assert "2</td><td>nodule" in text.replace(' class="number"', "")


def test_an_empty_report_is_a_report() -> None:
    assert "0 cases" in _page([]).text


def test_a_thumbnail_that_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="PNG or JPEG"):
        report([image_result("b.png")], SUMMARY, {"im-b.png": b"<svg>"})
