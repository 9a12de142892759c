from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, builds, floats, integers, tuples

from medvit.errors import InputError
from medvit.tiles.budget import (
    BudgetError,
    MemoryPlan,
    Room,
    parse_bytes,
    plan_memory,
    smallest_bytes,
    workable,
)
from medvit.tiles.footprint import MIB, CaseSize, NetworkCost, Search

sides = integers(1, 2000)
gaps = floats(0.1, 10.0)
cases = builds(
    CaseSize,
    shape=tuples(sides, sides, sides),
    spacing_mm=tuples(gaps, gaps, gaps),
    has_decoder=booleans(),
)
networks = builds(NetworkCost, integers(0, 2**31), integers(0, 2**31), integers(0, 2**31))
searches = builds(Search, cases, networks, most_readers=integers(1, 8))
held = integers(0, 2**32)
gpus = integers(0, 2**36)

CHEST = Search(CaseSize((400, 512, 512), (1.0, 0.7, 0.7)), NetworkCost(180 * MIB))


def sizes_of(plan: MemoryPlan) -> tuple[int, ...]:
    return (
        plan.pyramid_slab_bytes,
        plan.readers,
        plan.read_ahead,
        plan.tile_batch,
        plan.blend_slab_bytes,
    )


@given(searches, held, gpus)
def test_the_smallest_budget_is_enough_and_a_byte_less_is_not(
    search: Search, held: int, device: int
) -> None:
    smallest = smallest_bytes(search, Room(0, held, device))
    assert plan_memory(search, Room(smallest, held, device)).predicted_bytes <= smallest
    with pytest.raises(BudgetError) as caught:
        plan_memory(search, Room(smallest - 1, held, device))
    assert caught.value.smallest_bytes == smallest


@given(searches, held, gpus, integers(0, 2**33), integers(0, 2**33))
def test_more_memory_never_makes_anything_smaller(
    search: Search, held: int, device: int, beyond: int, more: int
) -> None:
    smallest = smallest_bytes(search, Room(0, held, device))
    small = plan_memory(search, Room(smallest + beyond, held, device))
    large = plan_memory(search, Room(smallest + beyond + more, held, device))
    assert all(a <= b for a, b in zip(sizes_of(small), sizes_of(large), strict=True))
    assert small.predicted_bytes <= large.predicted_bytes


@given(searches, held, gpus, integers(0, 2**34))
def test_no_plan_is_predicted_to_break_its_budget(
    search: Search, held: int, device: int, beyond: int
) -> None:
    budget = smallest_bytes(search, Room(0, held, device)) + beyond
    plan = plan_memory(search, Room(budget, held, device))
    assert plan.predicted_bytes <= budget
    assert min(phase.peak_bytes for phase in plan.phases) >= held
    assert 1 <= plan.readers <= plan.read_ahead


@given(searches, held)
def test_what_a_process_holds_already_is_added(search: Search, held: int) -> None:
    assert smallest_bytes(search, Room(0, held)) == smallest_bytes(search, Room(0, 0)) + held


@given(integers(1, 2**45))
def test_the_figure_of_a_hint_is_enough_when_it_is_typed_in(smallest: int) -> None:
    assert 16 * MIB <= parse_bytes(workable(smallest)) - smallest < 27 * MIB


def test_a_roomy_budget_gives_all_that_helps() -> None:
    plan = plan_memory(CHEST, Room(16 * 2**30, 300 * MIB))
    assert plan.pyramid_slab_bytes == 64 * MIB
    assert (plan.readers, plan.read_ahead, plan.tile_batch) == (2, 4, 1)


def test_a_tight_budget_is_met_by_the_step_that_would_break_it() -> None:
    hungry = replace(CHEST, network=NetworkCost(800 * MIB))
    plan = plan_memory(hungry, Room(smallest_bytes(hungry, Room(0, 0)), 0))
    assert (plan.readers, plan.read_ahead) == (1, 1)
    assert plan.pyramid_slab_bytes == 64 * MIB


def test_a_budget_below_the_process_itself_is_refused_with_a_figure() -> None:
    with pytest.raises(
        BudgetError, match=r"100 MiB of memory are too few, \d+ MiB needed"
    ) as caught:
        plan_memory(CHEST, Room(100 * MIB, 300 * MIB))
    figure = caught.value.hint.removeprefix("use --max-ram ").removesuffix(" or more")
    assert plan_memory(CHEST, Room(parse_bytes(figure), 300 * MIB)).predicted_peak_mb > 300
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(("free", "batch"), [(0, 1), (2**30, 1), (4 * 2**30, 3), (2**36, 16)])
def test_the_batch_fills_the_memory_of_the_gpu(free: int, batch: int) -> None:
    # 85 % of 4 GiB are 3481 MiB: one tile of 1000 MiB and two of 1100 MiB
    search = replace(CHEST, network=NetworkCost(MIB, 1000 * MIB, 1100 * MIB))
    assert plan_memory(search, Room(2**34, 0, free)).tile_batch == batch


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("2G", 2**31),
        ("2GiB", 2**31),
        ("2 gb", 2**31),
        ("1500M", 1500 * 2**20),
        ("800000k", 800000 * 1024),
        ("0.5g", 2**29),
        ("123", 123),
        ("123B", 123),
        (" 1T ", 2**40),
    ],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "G", "2X", "-1G", "0", "1e9", "2iB", "1,5G", "²", "9" * 400])
def test_what_is_no_size_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_bytes(text)
    assert caught.value.message == f"{text!r} is no amount of memory"
    assert "2GiB" in caught.value.hint
