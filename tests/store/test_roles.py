"""Roles: who may do what, enforced where decisions are written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from medvit.errors import AccessError, StoreError
from medvit.store.engine import build_engine, writing
from medvit.store.roles import NEEDED, Actor, Deed
from medvit.store.rows import Decision
from medvit.store.store import Store
from tests.make.results import ct_result


@pytest.fixture
def nodule(store: Store, run_id: int) -> str:
    """Return the only finding of case ct-a, in a store with an admin, a lead and readers."""
    result = ct_result("a", 0.9)
    store.save_result(run_id, result)
    boss = store.actor("Boss")
    store.set_role(boss, "Boss", "admin")
    store.set_role(store.actor("Boss"), "Lea", "lead")
    return result.findings[0].finding_id


def test_while_nobody_manages_roles_everybody_may_do_everything_but_overrules_nobody(
    store: Store,
) -> None:
    anybody = store.actor("Ann")
    assert anybody == Actor("Ann", "admin", assigned=False)
    assert anybody.may("promote")
    assert not anybody.overrules
    store.set_role(anybody, "Boss", "admin")
    assert store.actor("Ann") == Actor("Ann", "reader")


@pytest.mark.parametrize("deed", ["export", "start_job", "promote", "set_role"])
def test_a_deed_above_the_role_is_refused_and_not_logged(
    store: Store, nodule: str, deed: Deed
) -> None:
    before = len(store.list_audit())
    with pytest.raises(AccessError, match=rf"needs the role {NEEDED[deed]}; 'Ann' is a reader"):
        store.authorise(store.actor("Ann"), deed, "steel@3")
    assert len(store.list_audit()) == before
    store.authorise(store.actor("Boss"), deed, "steel@3", reason="better")
    assert (store.list_audit()[0].deed, store.list_audit()[0].details) == (
        deed,
        {"reason": "better"},
    )


def test_a_lead_settles_what_readers_disagree_about(store: Store, nodule: str) -> None:
    store.decide(Decision("ct-a", nodule, "accept", "Ann"))
    assert store.signals_of("ct-a") == []
    store.decide(Decision("ct-a", nodule, "reject", "Ben"))
    (signal,) = store.signals_of("ct-a")
    assert (signal.name, signal.value) == ("disagreement", 1.0)
    assert f"finding {nodule} (Ann: accept, Ben: reject)" in signal.reason
    settled = store.decide(Decision("ct-a", nodule, "accept", "Lea"))
    assert (settled.role, settled.settles) == ("lead", True)
    assert store.signals_of("ct-a") == []
    with pytest.raises(AccessError, match=r"ct-a: 'Lea' settled this \(accept\)"):
        store.decide(Decision("ct-a", nodule, "reject", "Ben"))
    store.decide(Decision("ct-a", nodule, "undo", "Lea"))
    assert [row.name for row in store.signals_of("ct-a")] == ["disagreement"]
    store.decide(Decision("ct-a", nodule, "accept", "Ben"))
    assert store.signals_of("ct-a") == []


def test_a_first_word_of_a_lead_is_an_opinion_like_any_other(store: Store, nodule: str) -> None:
    first = store.decide(Decision("ct-a", nodule, "accept", "Lea"))
    assert not first.settles
    store.decide(Decision("ct-a", nodule, "reject", "Ann"))
    assert [row.name for row in store.signals_of("ct-a")] == ["disagreement"]


def test_a_reader_takes_back_only_their_own_word(store: Store, nodule: str) -> None:
    store.decide(Decision("ct-a", nodule, "accept", "Ann"))
    with pytest.raises(AccessError, match="'Ann' decided last, not 'Ben'"):
        store.decide(Decision("ct-a", nodule, "undo", "Ben"))
    assert store.decide(Decision("ct-a", nodule, "undo", "Lea")).undoes_id


def test_nobody_decides_in_the_name_of_another(store: Store, nodule: str) -> None:
    with pytest.raises(AccessError, match="'Ann' cannot decide in the name of 'Lea'"):
        store.decide(Decision("ct-a", nodule, "accept", "Lea"), actor=store.actor("Ann"))
    assert store.list_decisions("ct-a") == []


def test_a_store_with_managed_roles_keeps_an_admin(store: Store, nodule: str) -> None:
    boss = store.actor("Boss")
    with pytest.raises(AccessError, match="'Boss' is the only admin"):
        store.set_role(boss, "Boss", "lead")
    with pytest.raises(AccessError, match="a role is one of reader, lead, admin, got 'king'"):
        store.set_role(boss, "Ann", "king")
    with pytest.raises(AccessError, match="set role needs the role admin; 'Lea' is a lead"):
        store.set_role(store.actor("Lea"), "Lea", "admin")
    assert {row.name: row.role for row in store.list_readers()} == {"Boss": "admin", "Lea": "lead"}


def test_a_name_belongs_to_one_account(store: Store) -> None:
    assert store.sign_in("ann@x", subject="https://idp 1", role="lead").role == "lead"
    with pytest.raises(AccessError, match="'ann@x' cannot be used: it is another account's"):
        store.sign_in("ann@x", subject="https://idp 2")
    with pytest.raises(AccessError, match="came in as 'ann@x' before"):
        store.sign_in("anna@x", subject="https://idp 1")
    with pytest.raises(AccessError, match="'ann@x' belongs to an account"):
        store.sign_in("ann@x")
    assert store.sign_in("ann@x", subject="https://idp 1").role == "lead"


def test_the_log_holds_deeds_and_decisions_in_order_and_cannot_be_changed(
    store: Store, store_url: str, nodule: str
) -> None:
    store.sign_in("Ann")
    store.decide(Decision("ct-a", nodule, "accept", "Ann"))
    store.authorise(store.actor("Lea"), "export", "labels", format="coco")
    lines = [(row.reader, row.role, row.deed, row.subject) for row in store.list_audit(limit=3)]
    assert lines == [
        ("Lea", "lead", "export", "labels"),
        ("Ann", "reader", "accept", "ct-a"),
        ("Ann", "reader", "sign_in", "Ann"),
    ]
    assert [row.deed for row in store.list_audit(reader="Ann", limit=1, offset=1)] == ["sign_in"]
    assert [row.role for row in store.list_audit()][-1] == "anybody"
    engine = build_engine(store_url)
    for statement in ("UPDATE audit SET reader = 'Eve'", "DELETE FROM audit"):
        with pytest.raises(DBAPIError, match="append-only"), writing(engine).begin() as connection:
            connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reason_code": "Too Long"}, "a reason code has at most 40 of a-z, 0-9 and _"),
        ({"seconds": float("nan")}, "must be finite and not negative, got nan"),
        ({"seconds": -1.0}, "must be finite and not negative, got -1.0"),
        ({"token": "a b"}, "a token has at most 40 letters, digits and -, got 'a b'"),
    ],
)
def test_what_goes_with_a_decision_obeys_rules(
    store: Store, nodule: str, changes: dict[str, object], words: str
) -> None:
    make: Callable[..., Decision] = Decision
    with pytest.raises(StoreError, match=words):
        store.decide(make("ct-a", nodule, "accept", "Ann", **changes))


def test_a_token_is_saved_once_and_names_one_press(store: Store, nodule: str) -> None:
    order = Decision("ct-a", nodule, "accept", "Ann", token="t-1", seconds=3.5, reason_code="scar")
    first = store.decide(order, expected_version=0)
    assert store.decide(order, expected_version=0) == first
    assert (first.seconds, first.reason_code) == (3.5, "scar")
    with pytest.raises(StoreError, match=f"token 't-1' names decision {first.id} already"):
        store.decide(Decision("ct-a", nodule, "reject", "Ann", token="t-1"))
    assert store.list_decisions("ct-a") == [first]


def test_a_skip_changes_nothing_and_is_in_nobodys_way(store: Store, nodule: str) -> None:
    skipped = store.decide(Decision("ct-a", nodule, "skip", "Ann", seconds=2.0))
    (row,) = store.list_findings("ct-a")
    assert (row.state, row.version) == ("new", 0)
    store.decide(Decision("ct-a", nodule, "accept", "Ben"), expected_version=0)
    with pytest.raises(StoreError, match="'Ben' decided last"):
        store.decide(Decision("ct-a", nodule, "undo", "Ann"))
    assert store.list_decisions("ct-a")[0] == skipped
