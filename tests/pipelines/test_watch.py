"""What arrives whole is scanned once, with the champion of the moment."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from medvit.errors import InputError
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.scan import ScanSettings
from pipelines.scanning.journal import exclusive
from pipelines.watch import Pace, watch
from tests.make.dicom import CtSeries, write_series
from tests.make.models import register_untrained
from tests.make.raster import grey, write_image


@dataclass
class Day:
    """A watched folder, and a clock that runs while the watch sleeps.

    Attributes:
        deeds: What happens during each sleep, in order; the watch ends after the last.
    """

    folder: Path
    deeds: list[Callable[[], object]]
    now_s: float = 0.0
    settle_s: float = 5.0
    told: list[str] = field(default_factory=list)

    @property
    def incoming(self) -> Path:
        return self.folder / "in"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "ws")

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.deeds:
            self.deeds.pop(0)()

    def watch(self) -> int:
        settings = ScanSettings(sources=(self.incoming,), out=self.folder / "out")
        pace = Pace(4.0, self.settle_s, lambda: self.now_s, self.sleep, lambda: not self.deeds)
        return watch(
            settings,
            workspace=self.workspace,
            progress=lambda _done, _all, what: self.told.append(what),
            pace=pace,
        )

    def rows(self, name: str = "cases.csv") -> list[dict[str, str]]:
        with (self.folder / "out" / name).open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def runs(self) -> list[Path]:
        return sorted(self.workspace.runs("scan").glob("[0-9]*"))

    def models(self) -> dict[str, str]:
        """Return which model answered each source, as the store tells it."""
        with Store.open(self.workspace.store_url) as store:
            runs = {case.source: store.get_run(case.run_id) for case in store.list_cases()[0]}
        return {source: run.model for source, run in runs.items() if run is not None}


def nothing() -> None:
    """Let time pass."""


@pytest.fixture
def day(tmp_path: Path) -> Day:
    (tmp_path / "in").mkdir()
    register_untrained(tmp_path / "ws" / "models")
    return Day(tmp_path, [])


def arrive(day: Day, name: str, shift: int = 0) -> Callable[[], object]:
    return lambda: write_image(day.incoming / name, np.roll(grey(), shift, axis=1))


def test_arrivals_are_scanned_when_they_have_settled_and_once(day: Day) -> None:
    day.deeds = [arrive(day, "a.png"), nothing, nothing, arrive(day, "b.png", 5), *[nothing] * 4]
    assert day.watch() == 2
    assert [row["source"] for row in day.rows()] == ["a.png", "b.png"]
    assert len(day.runs()) == 2  # a batch each
    assert day.told.count("a.png") == 1
    assert (day.folder / "out" / "report.html").is_file()
    record = json.loads((day.runs()[1] / "run.json").read_text(encoding="utf-8"))
    assert (record["state"], record["counts"]["cases"]) == ("done", 1)


def test_a_file_that_still_grows_is_let_be(day: Day) -> None:
    write_image(day.folder / "whole.png", grey())
    content = (day.folder / "whole.png").read_bytes()

    def grow(share: float) -> Callable[[], object]:
        part = content[: int(share * len(content))]
        return lambda: (day.incoming / "slow.png").write_bytes(part)

    day.deeds = [grow(0.3), grow(0.6), grow(0.8), grow(1.0), *[nothing] * 3]
    assert day.watch() == 1
    assert [row["verdict"] for row in day.rows()] == ["accept"]  # never seen cut off


@pytest.mark.slow
def test_slices_that_still_come_keep_their_series_waiting(day: Day) -> None:
    whole = day.folder / "series"
    write_series(whole, CtSeries(series_uid="1.2.3"))
    slices = sorted(whole.iterdir())
    (day.incoming / "ct").mkdir()

    def send(files: list[Path]) -> Callable[[], object]:
        def deed() -> None:
            for file in files:
                (day.incoming / "ct" / file.name).write_bytes(file.read_bytes())

        return deed

    half = len(slices) // 2
    day.deeds = [send(slices[:half]), send(slices[half:]), *[nothing] * 3]
    assert day.watch() == 1
    assert len(day.runs()) == 1


def test_a_promotion_takes_effect_at_the_next_case(day: Day) -> None:
    for number in range(3):
        arrive(day, f"{number}.png", 5 * number)()
    models = day.workspace.models
    register_untrained(models, version="newer", seed=4)
    for name in models.iterdir():
        (name / "production").write_text("test\n", encoding="utf-8")

    def promote(what: str) -> None:
        if what == "1.png":  # while the second case is on its way
            (models / "steel-defects" / "production").write_text("newer\n", encoding="utf-8")

    day.deeds = [nothing] * 4
    settings = ScanSettings(sources=(day.incoming,), out=day.folder / "out")
    pace = Pace(4.0, 5.0, lambda: day.now_s, day.sleep, lambda: not day.deeds)
    watch(
        settings,
        workspace=day.workspace,
        progress=lambda _done, _all, what: promote(what),
        pace=pace,
    )
    found = day.models()
    assert [found[f"{n}.png"].split("@")[1] for n in range(3)] == ["test", "test", "newer"]
    assert len(day.rows()) == 3


def test_a_watch_that_was_stopped_goes_on_with_what_is_new(day: Day) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    day.deeds = [arrive(day, "a.png"), arrive(day, "b.png", 5), nothing, nothing, stop]
    with pytest.raises(KeyboardInterrupt):
        day.watch()
    before = day.rows()
    (day.incoming / "a.png").unlink()  # fetched by somebody else: its answer stays
    day.told.clear()
    day.deeds = [arrive(day, "c.png", 9), *[nothing] * 3]
    assert day.watch() == 3
    assert day.rows()[:2] == before
    assert day.told.count("b.png") == 0


def test_an_interrupt_in_a_batch_keeps_what_was_finished(day: Day) -> None:
    for number in range(3):
        arrive(day, f"{number}.png", 5 * number)()
    day.deeds = [nothing] * 5

    def interrupt(_done: float, _all: float, what: str) -> None:
        if what == "2.png":
            raise KeyboardInterrupt

    pace = Pace(4.0, 5.0, lambda: day.now_s, day.sleep, lambda: not day.deeds)
    settings = ScanSettings(sources=(day.incoming,), out=day.folder / "out")
    with pytest.raises(KeyboardInterrupt):
        watch(settings, workspace=day.workspace, progress=interrupt, pace=pace)
    assert [row["source"] for row in day.rows()] == ["0.png", "1.png"]
    record = json.loads((day.runs()[0] / "run.json").read_text(encoding="utf-8"))
    assert record["state"] == "interrupted"


def test_a_file_that_was_replaced_has_one_row(day: Day) -> None:
    day.deeds = [arrive(day, "a.png"), nothing, nothing, arrive(day, "a.png", 7), *[nothing] * 3]
    assert day.watch() == 1
    assert len(day.rows()) == 1
    assert len(day.runs()) == 2


def test_a_folder_that_is_away_for_a_while_is_waited_for(
    day: Day, caplog: pytest.LogCaptureFixture
) -> None:
    away = day.folder / "away"
    day.deeds = [
        arrive(day, "a.png"),
        nothing,
        nothing,
        lambda: day.incoming.rename(away),
        nothing,
        lambda: away.rename(day.incoming),
        arrive(day, "b.png", 5),
        *[nothing] * 3,
    ]
    with caplog.at_level(logging.WARNING):
        assert day.watch() == 2
    assert "the watch goes on" in caplog.text


def test_what_cannot_be_watched_is_refused_at_once(day: Day) -> None:
    def start(**changes: object) -> None:
        own = {"sources": (day.incoming,), "out": day.folder / "out", **changes}
        watch(ScanSettings.model_validate(own), workspace=day.workspace)

    with pytest.raises(InputError, match="nowhere: there is no such folder"):
        start(sources=(day.folder / "nowhere",))
    with pytest.raises(InputError, match="--deadline 60 means nothing"):
        start(deadline_s=60)
    with pytest.raises(InputError, match="its own answers"):
        start(out=day.incoming / "out")
    with exclusive(day.folder / "out"), pytest.raises(InputError, match="another scan"):
        start()
