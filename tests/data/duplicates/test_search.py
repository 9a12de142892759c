"""Duplicates: planted crops, copies and turns are found, strangers are not."""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from medvit.data.duplicates.groups import connected
from medvit.data.duplicates.overlap import high_pass_correlation, overlapping, refine
from medvit.data.duplicates.search import TURNS, Duplicate, SearchSettings, find_duplicates, turned
from medvit.data.duplicates.shifts import CoarseSearch, find_candidates
from medvit.data.duplicates.surfaces import Surface, read_surfaces

Grey = NDArray[np.uint8]


def strip(seed: int, *, shape: tuple[int, int] = (96, 240)) -> Grey:
    """Return a rough surface whose spots are about 3 px wide."""
    rough = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    grey: Grey = np.clip(128 + 100 * rough, 0, 255).astype(np.uint8)
    return grey


def surface(name: str, grey: Grey) -> Surface:
    digest = f"{hash(grey.tobytes())}"
    return Surface(name, digest, grey, 1, grey.shape, is_colour=False)


def pairs_of(found: list[Duplicate]) -> set[tuple[str, str]]:
    return {(each.first, each.second) for each in found}


def test_crops_of_one_strip_are_found_where_they_overlap() -> None:
    long = strip(1)
    darker = (long[:, 60:156] * 0.6 + 10).astype(np.uint8)
    images = [surface("a", long[:, :96]), surface("b", darker), surface("c", strip(2)[:, :96])]
    (found,) = find_duplicates(images)
    assert (found.first, found.second, found.kind) == ("a", "b", "overlap")
    assert found.shift == (0, 60)
    assert found.share == pytest.approx(36 / 96, abs=1e-4)
    assert found.correlation > 0.98


def test_the_order_of_images_does_not_matter() -> None:
    long = strip(1)
    images = [
        surface("a", long[:, :96]),
        surface("b", long[:, 50:146]),
        surface("c", long[:90, :96]),
    ]
    assert find_duplicates(images) == find_duplicates(images[::-1])


@pytest.mark.parametrize("fresh", [{"0"}, {"3"}, {"1", "4"}, {"5"}, set()])
def test_pairs_of_added_images_are_those_of_a_whole_search(fresh: set[str]) -> None:
    first, second = strip(1), strip(2)
    greys = [first[:, :96], first[:, 48:144], first[:, 96:192]]
    greys += [second[:, :96], second[:80, 30:110], second[:, 48:144]]
    surfaces = [surface(str(number), grey) for number, grey in enumerate(greys)]
    every = find_duplicates(surfaces)
    assert len(every) >= 5
    expected = [pair for pair in every if {pair.first, pair.second} & fresh]
    assert find_duplicates(surfaces, fresh=fresh) == expected


def test_strangers_and_flat_images_are_no_duplicates() -> None:
    flat = [surface(f"flat{n}", np.full((96, 96), 100 + n, np.uint8)) for n in (0, 1)]
    assert find_duplicates([*flat, *(surface(f"{n}", strip(n)[:, :96]) for n in range(8))]) == []


def test_an_overlap_below_the_least_share_does_not_count() -> None:
    long = strip(3)
    images = [surface("a", long[:, :96]), surface("b", long[:, 86:182])]
    assert pairs_of(find_duplicates(images)) == {("a", "b")}  # 10 of 96 columns
    strict = SearchSettings(min_share=0.2)
    assert find_duplicates(images, settings=strict) == []


@pytest.mark.parametrize("turn", ["rot90", "flip", "flip_rot270"])
def test_turned_copies_are_found_only_when_asked(turn: str) -> None:
    long = strip(4)
    # The second image is stored so that `turn` brings it back onto the strip.
    mirrored, quarters = TURNS[turn]
    stored = np.rot90(long[:, 30:126], -quarters)
    stored = np.ascontiguousarray(stored[:, ::-1] if mirrored else stored)
    assert np.array_equal(turned(stored, turn), long[:, 30:126])
    images = [surface("a", long[:, :96]), surface("b", stored)]
    assert find_duplicates(images) == []
    (found,) = find_duplicates(images, settings=SearchSettings(turned=True))
    assert (found.turn, found.shift) == (turn, (0, 30))


def test_coarse_correlation_equals_a_slow_sum() -> None:
    rng = np.random.default_rng(0)
    greys = [rng.integers(0, 255, shape, dtype=np.uint8) for shape in ((40, 44), (36, 34))]
    search = CoarseSearch(min_share=0.5, min_correlation=-1.0)
    (found,) = find_candidates(greys, search=search, factor=1)
    sharp = [g - gaussian_filter(g.astype(np.float32), 0.03 * max(g.shape)) for g in greys]
    best = (-1.0, (0, 0))
    for shift in itertools.product(range(-18, 23), range(-17, 28)):
        a, b = (piece.astype(np.float64) for piece in overlapping(sharp[0], sharp[1], shift))
        if a.size >= 0.5 * 36 * 34:
            best = max(best, (float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())), shift))
    assert found.shift == best[1]
    assert found.correlation == pytest.approx(best[0], abs=2e-3)


@given(y=st.integers(-20, 20), x=st.integers(-20, 20))
@settings(max_examples=15)
def test_refining_finds_the_exact_shift(y: int, x: int) -> None:
    long = strip(5, shape=(120, 120))
    one, two = long[30:90, 30:90], long[30 + y : 90 + y, 30 + x : 90 + x]
    found = refine(one, two, (y + 2, x - 1), reach=4)
    assert found.shift == (y, x)
    assert found.share == pytest.approx((60 - abs(y)) * (60 - abs(x)) / 3600)


def test_slow_changes_of_brightness_do_not_count() -> None:
    piece = strip(6)[:, :96]
    lit = np.clip(piece * 0.7 + np.linspace(0, 60, 96), 0, 255).astype(np.uint8)
    assert high_pass_correlation(piece, lit, sigma=4) > 0.98
    assert abs(high_pass_correlation(piece, strip(7)[:, :96], sigma=4)) < 0.1


@given(pairs=st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefg"))))
def test_groups_are_the_reachable_sets(pairs: list[tuple[str, str]]) -> None:
    group = connected("abcdefg", pairs)
    reach = {name: {name} for name in "abcdefg"}
    for _ in range(7):
        for one, two in pairs:
            union = reach[one] | reach[two]
            for name in union:
                reach[name] = reach[name] | union
    assert all(group[name] == min(reach[name]) for name in "abcdefg")


def test_hashes_see_pixels_and_not_files(tmp_path: Path) -> None:
    grey = strip(8)[:, :96]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("RGB").save(tmp_path / "colour.bmp")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    names = ["grey.png", "colour.bmp", "empty.png", "text.jpg"]
    found, broken = read_surfaces(tmp_path, names)
    assert [each.path for each in broken] == ["empty.png", "text.jpg"]
    assert {each.reason for each in broken} == {"not_an_image"}
    (pair,) = find_duplicates(found)
    assert (pair.first, pair.second, pair.kind) == ("colour.bmp", "grey.png", "exact")


def test_a_large_image_is_reduced_while_small_ones_are_not(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(strip(number)).save(tmp_path / f"{number}.png")
    Image.new("L", (6000, 40), 7).save(tmp_path / "wide.png")
    found, _ = read_surfaces(tmp_path, ["0.png", "1.png", "2.png", "wide.png"])
    assert [each.step for each in found] == [1, 1, 1, 12]
    assert found[3].grey.shape == (3, 500)
    assert found[3].shape == (40, 6000)


@pytest.mark.slow
@pytest.mark.shared_data
def test_groups_of_two_neu_classes_are_the_known_ones(shared_data: Path) -> None:
    folder = shared_data / "defects/neu-det"
    with (folder / "neu-det-dev.csv").open(encoding="utf-8") as stream:
        known = {
            line["image"] + ".jpg": line["group"]
            for line in csv.DictReader(stream)
            if line["class"] in ("patches", "rolled-in_scale")
        }
    surfaces, broken = read_surfaces(folder / "images", list(known))
    assert broken == []
    found = connected(list(known), pairs_of(find_duplicates(surfaces)))
    truth, answer = _within(known), _within(found)
    assert len(truth & answer) >= 0.95 * len(answer)
    assert len(truth & answer) >= 0.90 * len(truth)


def _within(group_of: dict[str, str]) -> set[tuple[str, str]]:
    members: dict[str, list[str]] = defaultdict(list)
    for name in sorted(group_of):
        members[group_of[name]].append(name)
    return {(a, b) for own in members.values() for n, a in enumerate(own) for b in own[n + 1 :]}
