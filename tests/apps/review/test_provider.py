"""The sign-in file, what its claims make of a reader, and where the app may listen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from apps.cli.__main__ import run
from apps.review import provider
from apps.review.launch import app_command, app_environment
from apps.review.provider import (
    Identity,
    Provider,
    is_loopback,
    read_provider,
    require_provider,
)
from medvit.errors import AccessError, InputError
from tests.make.oidc import CLIENT_SECRET, auth_file

WHO = {"iss": "https://idp", "sub": "7", "email": "ann@x", "preferred_username": "ann"}
GROUPS = Provider(role_claim="groups", groups={"lead": ("heads",), "admin": ("it", "ops")})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "auth.toml"
    roles = '[medvit]\nrole_claim = "groups"\nadmins = ["boss@x"]\n[medvit.roles]\nlead = ["heads"]'
    path.write_text(auth_file("https://idp", "https://app", roles), encoding="utf-8")
    return path


def test_a_sign_in_file_says_who_is_what(file: Path) -> None:
    read = read_provider(file)
    assert read == Provider("", "groups", {"lead": ("heads",)}, ("boss@x",))
    assert read.identity(WHO) == Identity("ann@x", "https://idp 7", "reader")
    assert read.identity({**WHO, "groups": ["heads"]}).role == "lead"
    assert read.identity({**WHO, "email": "boss@x"}).role == "admin"


@pytest.mark.parametrize(
    ("claims", "role"),
    [({}, "reader"), ({"groups": "heads"}, "lead"), ({"groups": ["heads", "ops", 3]}, "admin")],
)
def test_the_highest_group_counts(claims: Mapping[str, object], role: str) -> None:
    assert GROUPS.identity({**WHO, **claims}).role == role


def test_the_table_of_readers_decides_where_no_claim_does() -> None:
    assert Provider().identity(WHO).role is None


def test_an_address_that_nobody_verified_is_no_name() -> None:
    assert Provider().identity({**WHO, "email_verified": False}).name == "ann"
    with pytest.raises(AccessError, match="needs one of the claims upn, got"):
        Provider(name_claim="upn").identity(WHO)
    with pytest.raises(AccessError, match=r"needs the claims iss and sub, got \['email'\]"):
        Provider().identity({"email": "ann@x"})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[auth]", "[other]", r"has no section \[auth\]"),
        ("client_id =", "client =", r"lacks client_id in \[auth\]"),
        ("/oauth2callback", "/back", "must end with /oauth2callback"),
        ("cookie_secret = ", 'cookie_secret = "short" # ', "needs 32 characters or more, got 5"),
        (
            "role_claim",
            "roleclaim",
            r"section \[medvit\] .* got \['admins', 'roleclaim', 'roles'\]",
        ),
        ("lead =", "king =", "a role is one of reader, lead, admin, got 'king'"),
        ("[medvit]", "[medvit", "is no TOML"),
    ],
)
def test_a_sign_in_file_that_lacks_something_is_named_without_its_secrets(
    file: Path, old: str, new: str, words: str
) -> None:
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=words) as refused:
        read_provider(file)
    assert "auth.toml" in refused.value.message
    assert CLIENT_SECRET not in refused.value.message + refused.value.hint


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "lab"])
def test_other_machines_come_in_by_a_provider_or_when_told(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(InputError, match=f"host {host} lets other machines in") as refused:
        require_provider(host, None, anybody=False)
    assert "--auth FILE" in refused.value.hint
    require_provider(host, Provider(), anybody=False)
    require_provider(host, None, anybody=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_no_provider(host: str) -> None:
    assert is_loopback(host)
    require_provider(host, None, anybody=False)


def test_the_command_refuses_before_it_starts_anything(tmp_path: Path) -> None:
    words = ["app", "--host", "0.0.0.0", "--workspace", str(tmp_path / "ws")]
    assert run(words) == 2
    assert not (tmp_path / "ws").exists()


def test_without_authlib_the_extra_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"auth\.toml needs Authlib") as refused:
        read_provider(file)
    assert "medvit[signin]" in refused.value.hint


def test_secrets_stay_in_their_file(file: Path, tmp_path: Path) -> None:
    command = app_command(8501, "127.0.0.1", file)
    environment = app_environment(tmp_path, "", {}, file)
    assert f"--secrets.files={file}" in command
    assert environment["MEDVIT_AUTH"] == str(file)
    assert CLIENT_SECRET not in " ".join([*command, *environment.values()])
