from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit import atomic
from medvit.errors import InputError
from medvit.findings.finding import CaseResult, Finding
from medvit.io.case import Case
from pipelines.scanning.journal import FOLDER, Entry, Journal, case_key, exclusive


@pytest.fixture
def case(tmp_path: Path) -> Case:
    file = tmp_path / "in" / "a.png"
    file.parent.mkdir()
    file.write_bytes(b"12345")
    return Case("im-000000000001", "image", "a.png", file.parent, (file,))


def entry_of(case: Case, *, probability: float = 0.25, text: str = "ok") -> Entry:
    finding = Finding(
        case.case_id, "image", case.source, "", "f-1", "scratch", probability, x_min=1, y_min=2
    )
    result = CaseResult(case, "accept", "ok", text, "scratch", probability, (finding,), 1.5, 300.25)
    return Entry(result, {case.case_id: "data:image/png;base64,AAAA"})


@pytest.mark.slow
@given(probability=st.floats(0, 1), text=st.text())
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, probability: float, text: str
) -> None:
    out = tmp_path_factory.mktemp("out")
    (out / FOLDER).mkdir()
    case = Case("im-1", "image", "a.png", out, (out / "a.png",))
    entry = entry_of(case, probability=probability, text=text)
    Journal(out).add(entry, "key")
    assert Journal(out).find(case, "key") == entry


def test_another_key_finds_nothing(tmp_path: Path, case: Case) -> None:
    (tmp_path / FOLDER).mkdir()
    journal = Journal(tmp_path)
    journal.add(entry_of(case), "key")
    assert journal.find(case, "other") is None
    assert journal.find(replace(case, case_id="im-2"), "key") is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"key": "key"}', '{"key": "key", "result": 3}']
)
def test_a_damaged_entry_counts_as_none(tmp_path: Path, case: Case, content: str) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / f"{case.case_id}.json").write_text(content)
    assert Journal(tmp_path).find(case, "key") is None


def test_the_key_follows_what_determines_a_result(case: Case) -> None:
    key = case_key(case, model="a@1")
    assert key == case_key(case, model="a@1")
    assert key != case_key(case, model="a@2")
    assert key != case_key(replace(case, source="b.png"), model="a@1")
    case.files[0].write_bytes(b"123456")
    assert key != case_key(case, model="a@1")


def test_the_key_of_a_file_that_is_gone_can_be_asked(case: Case) -> None:
    before = case_key(case)
    case.files[0].unlink()
    assert case_key(case) != before


def test_a_full_disk_is_told_with_the_way_out(
    tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write_bytes", full)
    with pytest.raises(
        InputError, match=r"im-000000000001.json cannot be written: No space left"
    ) as e:
        Journal(tmp_path).add(entry_of(case), "key")
    assert "the same command goes on" in e.value.hint


def test_the_lock_is_free_after_its_holder_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pipelines.scanning.journal import exclusive\n"
        "with exclusive(Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match=f"another scan \\(process {holder.pid}\\)"):
            exclusive(tmp_path).__enter__()
        holder.kill()
        holder.wait()
        with exclusive(tmp_path):
            pass
