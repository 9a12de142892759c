from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.errors import ReadError
from medvit.io.pyramid_memory import held_bytes, predicted_bytes
from medvit.io.pyramid_store import PyramidStore
from medvit.io.pyramids import hold_pyramid, open_pyramid
from medvit.io.readers import open_volume
from medvit.io.scratch import Scratch
from medvit.volume.levels import plan_levels
from medvit.volume.pyramid import Pyramid
from medvit.volume.volume import Hu, Volume, volume_of
from tests.make.dicom import CtSeries, truncate, write_series
from tests.make.pyramids import PACKED, PLAIN, SLAB_BYTES, values_of, write_ct, write_jpeg_ls


def halved(hu: Any, by: tuple[int, int, int], kind: str) -> Any:
    """Halve by padding and reshaping, in double precision."""
    padding = [(0, -side % factor) for side, factor in zip(hu.shape, by, strict=True)]
    full = np.pad(hu.astype(np.float64), padding, mode="edge")
    (d, h, w), (fz, fy, fx) = full.shape, by
    blocks = full.reshape(d // fz, fz, h // fy, fy, w // fx, fx)
    return getattr(blocks, kind)(axis=(1, 3, 5))


def assert_holds(pyramid: Pyramid, volume: Volume, *, is_whole: bool = True) -> None:
    hu = volume.read_all()
    np.testing.assert_array_equal(pyramid.levels[0].read_all(), hu)
    plan = plan_levels(volume.shape, volume.affine_lps)
    assert [level.shape for level in pyramid.levels] == [level.shape for level in plan]
    assert len(plan) > 1
    means = lows = highs = hu.astype(np.float64)
    for number, level in enumerate(plan[1:], start=1):
        means, lows, highs = (
            halved(above, level.halved, kind)
            for above, kind in ((means, "mean"), (lows, "min"), (highs, "max"))
        )
        expected = np.rint(means) if is_whole else means.astype(np.float32)
        np.testing.assert_array_equal(pyramid.levels[number].read_all(), expected)
        np.testing.assert_array_equal(pyramid.lows[number - 1].read_all(), lows)
        np.testing.assert_array_equal(pyramid.highs[number - 1].read_all(), highs)


def kept(scratch: Scratch) -> list[Path]:
    """Return the folders in the store, drafts too."""
    return [path for path in store_of(scratch)._folder.iterdir() if path.is_dir()]


def store_of(scratch: Scratch) -> PyramidStore:
    assert scratch.pyramids is not None
    return scratch.pyramids


def shards(scratch: Scratch, level: str) -> list[Path]:
    (folder,) = kept(scratch)
    return sorted(path for path in (folder / level / "c").rglob("*") if path.is_file())


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch.below(tmp_path / "cache")


@pytest.mark.parametrize("kind", PLAIN | PACKED)
def test_levels_are_means_and_extremes_of_the_source(
    tmp_path: Path, scratch: Scratch, kind: str
) -> None:
    path = write_ct(kind, tmp_path / "in", values_of())
    volume = open_volume(path)
    assert volume.is_plain == (kind in PLAIN)
    for _ in ("made", "found"):
        pyramid = open_pyramid(path, scratch=scratch, slab_bytes=SLAB_BYTES)
        assert_holds(pyramid, volume)
        assert all(level.is_plain for level in pyramid.levels)
        np.testing.assert_array_equal(pyramid.levels[0].affine_lps, volume.affine_lps)
        assert pyramid.levels[0].origins == volume.origins
    (folder,) = kept(scratch)
    assert (folder / "0").is_dir() == (kind in PACKED)
    assert (folder / "highs/1").is_dir()


def test_fractions_are_kept_whole(tmp_path: Path, scratch: Scratch) -> None:
    hu = values_of().astype(np.float32)
    hu[-1, -1, -1] += 0.25
    path = write_ct("nii_gz", tmp_path, hu)
    for _ in ("made", "found"):
        pyramid = open_pyramid(path, scratch=scratch, slab_bytes=SLAB_BYTES)
        assert_holds(pyramid, open_volume(path), is_whole=False)


def test_a_pyramid_that_is_there_is_not_made_again(tmp_path: Path, scratch: Scratch) -> None:
    path = write_jpeg_ls(tmp_path / "in", values_of())
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    open_pyramid(path, scratch=scratch, progress=tell, slab_bytes=SLAB_BYTES)
    assert told == [(2, 11), (4, 11), (6, 11), (8, 11), (10, 11), (11, 11)]
    open_pyramid(path, scratch=scratch, progress=tell)
    assert len(told) == 6


@pytest.mark.parametrize("kind", ["jpeg_ls", "nii_gz"])
def test_a_pass_fills_neither_the_chunk_cache_nor_the_temporary_folder(
    tmp_path: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = write_ct(kind, tmp_path / "in", values_of())
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: pytest.fail("a temporary copy"))
    open_pyramid(path, scratch=scratch).levels[0].read_all()
    assert scratch.chunks is not None
    assert scratch.chunks.held_bytes() == 0


def test_files_that_change_have_a_pyramid_of_their_own(tmp_path: Path, scratch: Scratch) -> None:
    first, second = values_of(1), values_of(2)
    path = write_ct("nii_gz", tmp_path, first)
    open_pyramid(path, scratch=scratch)
    write_ct("nii_gz", tmp_path, second)
    os.utime(path, ns=(1, 1))
    assert_holds(open_pyramid(path, scratch=scratch), open_volume(path))
    assert len(kept(scratch)) == 2


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, scratch: Scratch) -> None:
    path = write_jpeg_ls(tmp_path / "in", values_of())

    def touch(done: int, _: int) -> None:
        if done == 4:
            os.utime(path / "009.dcm", ns=(5, 5))

    with pytest.raises(ReadError, match="changed while the volume was read") as caught:
        open_pyramid(path, scratch=scratch, progress=touch, slab_bytes=SLAB_BYTES)
    assert caught.value.reason == "unreadable"
    assert not kept(scratch)


def flip_in_chunk(scratch: Scratch, level: str) -> None:
    file = shards(scratch, level)[0]
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 3] ^= 1
    file.write_bytes(bytes(raw))


def cut_shard(scratch: Scratch, level: str) -> None:
    file = shards(scratch, level)[-1]
    os.truncate(file, file.stat().st_size // 2)


def lose_shard(scratch: Scratch, level: str) -> None:
    shards(scratch, level)[0].unlink()


def lose_metadata(scratch: Scratch, level: str) -> None:
    (folder,) = kept(scratch)
    (folder / level / "zarr.json").write_bytes(b"")


def flip_attributes(scratch: Scratch, _: str) -> None:
    (folder,) = kept(scratch)
    text = (folder / "zarr.json").read_text()
    (folder / "zarr.json").write_text(text.replace("LPS", "RAS", 1))


DAMAGES = [flip_in_chunk, cut_shard, lose_shard, lose_metadata, flip_attributes]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["0", "1", "highs/1"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_mended(
    tmp_path: Path, scratch: Scratch, caplog: pytest.LogCaptureFixture, damage: Any, level: str
) -> None:
    path = write_ct("nii_gz", tmp_path, values_of())
    open_pyramid(path, scratch=scratch, slab_bytes=SLAB_BYTES)
    damage(scratch, level)
    with caplog.at_level(logging.WARNING, "medvit"):
        assert_holds(open_pyramid(path, scratch=scratch), open_volume(path))
    assert ["broken" in record.message for record in caplog.records] == [True]
    caplog.clear()
    assert_holds(open_pyramid(path, scratch=scratch), open_volume(path))
    assert not caplog.records


def test_a_reader_outlives_the_eviction_of_its_pyramid(
    tmp_path: Path, scratch: Scratch, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [write_ct("nii_gz", tmp_path / str(n), values_of(n)) for n in range(2)]
    first = open_pyramid(paths[0], scratch=scratch)
    bound = store_of(scratch).held_bytes() * 3 // 2
    tight = Scratch(pyramids=PyramidStore(tmp_path / "cache/pyramids", max_bytes=bound))
    second = open_pyramid(paths[1], scratch=tight)
    assert len(kept(scratch)) == 1
    assert_holds(first, open_volume(paths[0]))
    assert "broken or gone" in caplog.records[0].message
    assert_holds(second, open_volume(paths[1]))
    (tmp_path / "cache/pyramids").rename(tmp_path / "elsewhere")
    assert_holds(first, open_volume(paths[0]))


def test_the_bound_holds_and_the_least_used_goes_first(tmp_path: Path) -> None:
    paths = [write_ct("nii_gz", tmp_path / str(n), values_of(n)) for n in range(4)]
    free = Scratch.below(tmp_path / "free")
    open_pyramid(paths[0], scratch=free)
    bound = store_of(free).held_bytes() * 5 // 2
    store = PyramidStore(tmp_path / "cache", max_bytes=bound)
    scratch = Scratch(pyramids=store)
    for path in (paths[0], paths[1], paths[0], paths[2]):
        time.sleep(0.02)  # a file system's clock ticks every few milliseconds
        open_pyramid(path, scratch=scratch)
        assert store.held_bytes() <= bound
    told: list[int] = []
    open_pyramid(paths[0], scratch=scratch, progress=lambda done, _: told.append(done))
    assert not told
    open_pyramid(paths[1], scratch=scratch, progress=lambda done, _: told.append(done))
    assert told


@contextmanager
def no_file_above(most_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fill", ["jpeg_ls", "dicom"])
def test_a_full_disk_costs_a_warning(
    tmp_path: Path, scratch: Scratch, caplog: pytest.LogCaptureFixture, fill: str
) -> None:
    path = write_ct(fill, tmp_path / "in", values_of())
    with no_file_above(10_000):
        pyramid = open_pyramid(path, scratch=scratch, slab_bytes=SLAB_BYTES)
    assert_holds(pyramid, open_volume(path))
    assert [record.message for record in caplog.records] == [
        "a pyramid is not kept on disk: File too large"
    ]
    assert not kept(scratch)


def test_a_folder_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("in the way")
    path = write_ct("nii", tmp_path, values_of())
    pyramid = open_pyramid(path, scratch=Scratch.below(tmp_path / "cache"))
    assert_holds(pyramid, open_volume(path))
    assert [record.message for record in caplog.records] == [
        "a pyramid is not kept on disk: Not a directory"
    ]


def test_a_pyramid_larger_than_the_bound_is_held(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_ct("nii_gz", tmp_path, values_of())
    scratch = Scratch(pyramids=PyramidStore(tmp_path / "cache", max_bytes=10_000))
    assert_holds(open_pyramid(path, scratch=scratch), open_volume(path))
    assert "bytes, at most 10000 are kept" in caplog.records[0].message
    assert not kept(scratch)


def test_without_a_store_the_coarse_levels_are_held(tmp_path: Path) -> None:
    path = write_ct("jpeg_ls", tmp_path, values_of())
    assert_holds(open_pyramid(path, scratch=Scratch()), open_volume(path))


def test_what_is_held_is_what_a_search_needs() -> None:
    boxes: list[int] = []
    hu = values_of(shape=(64, 257, 300)).astype(np.float32)

    def read_block(z: slice, y: slice, x: slice) -> Hu:
        boxes.append(z.start)
        return hu[z, y, x].copy()

    affine = np.eye(4)[[2, 1, 0, 3]] * [0.4, 0.4, 0.4, 1.0]
    pyramid = hold_pyramid(Volume(hu.shape, affine, read_block))
    assert [level.spacing_mm[2] for level in pyramid.levels] == pytest.approx([0.4, 0.8, 1.6])
    assert pyramid.number_for(1.5) == 1
    boxes.clear()
    pyramid.levels[1].read_all()
    pyramid.highs[1].read_all()
    assert not boxes
    assert_holds(pyramid, volume_of(hu, affine))


def test_a_volume_without_coarser_levels_is_its_own_pyramid(
    tmp_path: Path, scratch: Scratch
) -> None:
    hu = values_of(shape=(5, 20, 30))
    for kind in ("nii", "nii_gz"):
        pyramid = open_pyramid(write_ct(kind, tmp_path / kind, hu), scratch=scratch)
        (level,) = pyramid.levels
        assert (pyramid.lows, pyramid.highs) == ((), ())
        np.testing.assert_array_equal(np.sort(level.read_all(), None), np.sort(hu, None))
    assert len(kept(scratch)) == 1


@pytest.mark.parametrize("kind", ["jpeg_ls", "dicom"])
def test_an_unreadable_slice_ends_it_with_its_reason(
    tmp_path: Path, scratch: Scratch, kind: str
) -> None:
    path = write_ct(kind, tmp_path / "in", values_of())
    opened = sorted(path.iterdir())[6]

    def damage(done: int, _: int) -> None:
        if done == 2:
            truncate(opened, lost_bytes=3000)

    with pytest.raises(ReadError, match=opened.name) as caught:
        open_pyramid(path, scratch=scratch, progress=damage, slab_bytes=SLAB_BYTES)
    assert caught.value.reason == "truncated"
    assert not kept(scratch)


def test_a_label_map_is_refused_at_its_end(tmp_path: Path, scratch: Scratch) -> None:
    path = write_ct("nii_gz", tmp_path, np.abs(values_of()))
    with pytest.raises(ReadError, match="the lowest value is 0") as caught:
        open_pyramid(path, scratch=scratch)
    assert caught.value.reason == "not_hu"
    assert not kept(scratch)


def test_a_packed_file_that_is_cut_short_is_refused(tmp_path: Path, scratch: Scratch) -> None:
    path = truncate(write_ct("nii_gz", tmp_path, values_of()), lost_bytes=20)
    with pytest.raises(ReadError) as caught:
        open_pyramid(path, scratch=scratch)
    assert caught.value.reason == "truncated"
    assert not kept(scratch)


def test_a_tilted_series_is_straightened_once(tmp_path: Path, scratch: Scratch) -> None:
    series = CtSeries(hu=values_of(), step_lps_mm=(0.0, 0.3, 2.0))
    write_series(tmp_path / "in", series)
    volume = open_volume(tmp_path / "in")
    assert not volume.is_plain
    pyramid = open_pyramid(tmp_path / "in", scratch=scratch, slab_bytes=SLAB_BYTES)
    np.testing.assert_array_equal(pyramid.levels[0].read_all(), volume.read_all())
    assert pyramid.levels[0].is_plain


def start(path: Path, cache: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.make.pyramids", str(path), str(cache), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_that_is_read_or_stays(
    tmp_path: Path, scratch: Scratch
) -> None:
    path = write_jpeg_ls(tmp_path / "in", values_of())
    with start(path, tmp_path / "cache", "6") as process:
        assert process.stdout is not None
        while process.stdout.readline() != "6 11\n":
            assert process.poll() is None
        (draft,) = kept(scratch)
        assert draft.name.startswith(".draft-")
        assert any(draft.rglob("zarr.json"))
        process.kill()
    (draft,) = kept(scratch)
    assert_holds(open_pyramid(path, scratch=scratch), open_volume(path))
    (folder,) = kept(scratch)
    assert folder != draft


@pytest.mark.slow
def test_a_draft_of_a_running_process_is_left_alone(tmp_path: Path, scratch: Scratch) -> None:
    path = write_jpeg_ls(tmp_path / "in", values_of())
    with start(path, tmp_path / "cache", "6") as process:
        assert process.stdout is not None
        while process.stdout.readline() != "6 11\n":
            assert process.poll() is None
        open_pyramid(path, scratch=scratch)
        assert len(kept(scratch)) == 2
        process.kill()


@pytest.mark.slow
def test_processes_that_make_the_same_pyramid_all_succeed(tmp_path: Path, scratch: Scratch) -> None:
    hu = values_of()
    path = write_jpeg_ls(tmp_path / "in", hu)
    processes = [start(path, tmp_path / "cache") for _ in range(3)]
    answers = [process.communicate()[0].splitlines()[-1] for process in processes]
    assert answers == [f"sum {float(hu.astype(np.float32).sum())}"] * 3
    assert len(kept(scratch)) == 1


@pytest.mark.shared_data
@pytest.mark.slow
def test_a_real_series_is_exact(shared_data: Path, scratch: Scratch) -> None:
    path = shared_data / "ct/dcm_qa_ct/Philips_S21570_S2010"
    assert_holds(open_pyramid(path, scratch=scratch), open_volume(path))


@pytest.mark.slow
@pytest.mark.parametrize("slab_bytes", [2**22, 2**24])
def test_making_takes_no_more_memory_than_predicted(tmp_path: Path, slab_bytes: int) -> None:
    path = write_ct("nii_gz", tmp_path, values_of(shape=(70, 400, 400)))
    program = (
        "import sys; from pathlib import Path\n"
        "from medvit.io.pyramids import open_pyramid; from medvit.io.scratch import Scratch\n"
        "def kb(key): lines = Path('/proc/self/status').read_text().splitlines()\\\n"
        "    ; return next(int(l.split()[1]) for l in lines if l.startswith(key))\n"
        "before = kb('VmRSS')\n"
        "open_pyramid(sys.argv[1], scratch=Scratch.below(Path(sys.argv[2])),"
        " slab_bytes=int(sys.argv[3]))\n"
        "print(kb('VmHWM') - before)"
    )
    command = [sys.executable, "-c", program, str(path), str(tmp_path), str(slab_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken = int(done.stdout) * 1024
    assert 0 < taken <= predicted_bytes((70, 400, 400), slab_bytes)


def test_the_prediction_does_not_grow_with_depth() -> None:
    assert predicted_bytes((200, 512, 512)) == predicted_bytes((9000, 512, 512))
    assert predicted_bytes((200, 512, 512), 2**22) < predicted_bytes((200, 512, 512))


def test_held_bytes_are_those_of_two_kinds_from_the_level_of_the_search_on() -> None:
    affine = np.diag([0.7, 0.7, 0.7, 1.0])[[2, 1, 0, 3]]
    # 100x256x256 at 1.4 mm, then 50x128x128.
    assert held_bytes((200, 512, 512), affine) == 2 * 2 * (100 * 256**2 + 50 * 128**2)
