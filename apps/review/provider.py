"""The file that says who may sign in: an OpenID Connect provider, and roles by its claims."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medvit.errors import AccessError, InputError
from medvit.store.roles import ROLES, Role, known_role

NAME_CLAIMS = ("email", "preferred_username", "sub")
REQUIRED = ("redirect_uri", "cookie_secret")
OF_PROVIDER = ("client_id", "client_secret", "server_metadata_url")
SECRET_MIN = 32
CALLBACK = "/oauth2callback"
SHAPE = (
    "it needs [auth] with redirect_uri, cookie_secret, client_id, client_secret and "
    "server_metadata_url; docs/readers.md shows one"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says came in.

    Attributes:
        subject: The account: issuer and subject, which the name is bound to.
        role: What the provider or the file says; None leaves it to the table of readers.
    """

    name: str
    subject: str
    role: Role | None


@dataclass(frozen=True, slots=True)
class Provider:
    """How an account becomes a reader with a role.

    Attributes:
        name_claim: Claim that holds the reader's name; empty takes the first of e-mail
            address, user name and subject.
        role_claim: Claim that holds groups; empty leaves roles to the table of readers.
        groups: Names of groups, by the role they give.
        admins: Names of readers who are admins whatever the table says.
    """

    name_claim: str = ""
    role_claim: str = ""
    groups: Mapping[Role, Sequence[str]] = field(default_factory=dict)
    admins: Sequence[str] = ()

    def identity(self, claims: Mapping[str, Any]) -> Identity:
        """Return who came in, by the claims of the provider.

        Raises:
            AccessError: If a claim is missing that is needed.
        """
        issuer, subject = str(claims.get("iss") or ""), str(claims.get("sub") or "")
        if not issuer or not subject:
            msg = f"the sign-in needs the claims iss and sub, got {sorted(claims)}"
            raise AccessError(msg, hint="ask who runs the provider")
        name = self._name(claims)
        return Identity(name, f"{issuer} {subject}", self._role(name, claims))

    def _name(self, claims: Mapping[str, Any]) -> str:
        wanted = (self.name_claim,) if self.name_claim else NAME_CLAIMS
        for claim in wanted:
            if claim == "email" and claims.get("email_verified") is False:
                continue
            if value := str(claims.get(claim) or "").strip():
                return value
        msg = f"the sign-in needs one of the claims {', '.join(wanted)}, got {sorted(claims)}"
        raise AccessError(msg, hint="set name_claim to a claim that the provider sends")

    def _role(self, name: str, claims: Mapping[str, Any]) -> Role | None:
        if name in self.admins:
            return "admin"
        if not self.role_claim:
            return None
        found = claims.get(self.role_claim) or []
        groups = {found} if isinstance(found, str) else {str(group) for group in found}
        given = [role for role in ROLES if groups & set(self.groups.get(role, ()))]
        return given[-1] if given else "reader"


def read_provider(file: Path) -> Provider:
    """Read a file in the form of Streamlit's secrets, with a section for medvit.

    Raises:
        InputError: If it cannot be read, or lacks what a sign-in needs. No value of the file
            is in the message.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"the sign-in file {file.name} cannot be read: {error.strerror or error}"
        raise InputError(msg, hint="name a file with --auth") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"the sign-in file {file.name} is no TOML"
        raise InputError(msg, hint=SHAPE) from error
    _check_auth(file, content.get("auth"))
    if find_spec("authlib") is None:
        msg = f"the sign-in file {file.name} needs Authlib, which is not installed"
        raise InputError(msg, hint='pip install "medvit[signin]"')
    return _provider(file, content.get("medvit", {}))


def require_provider(host: str, provider: Provider | None, *, anybody: bool) -> None:
    """Check that an app which other machines can reach asks who comes in.

    Raises:
        InputError: If it does not, and nobody said that anybody may come in.
    """
    if provider is not None or anybody or is_loopback(host):
        return
    msg = f"host {host} lets other machines in, and nothing asks who they are"
    raise InputError(
        msg, hint="name a sign-in provider with --auth FILE, or let anybody in with --no-sign-in"
    )


def is_loopback(host: str) -> bool:
    """Return whether an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_auth(file: Path, auth: object) -> None:
    if not isinstance(auth, dict):
        msg = f"the sign-in file {file.name} has no section [auth]"
        raise InputError(msg, hint=SHAPE)
    missing = [key for key in (*REQUIRED, *OF_PROVIDER) if not auth.get(key)]
    if missing:
        msg = f"the sign-in file {file.name} lacks {', '.join(missing)} in [auth]"
        raise InputError(msg, hint=SHAPE)
    if not str(auth["redirect_uri"]).endswith(CALLBACK):
        msg = f"redirect_uri in {file.name} must end with {CALLBACK}"
        raise InputError(msg, hint=f"write the app's own address followed by {CALLBACK}")
    length = len(str(auth["cookie_secret"]))
    if length < SECRET_MIN:
        msg = f"cookie_secret in {file.name} needs {SECRET_MIN} characters or more, got {length}"
        raise InputError(msg, hint="python -c 'import secrets; print(secrets.token_hex(32))'")


def _provider(file: Path, section: object) -> Provider:
    known = {"name_claim", "role_claim", "roles", "admins"}
    if not isinstance(section, dict) or set(section) - known:
        got = sorted(section) if isinstance(section, dict) else section
        msg = f"section [medvit] of {file.name} knows {', '.join(sorted(known))}; got {got}"
        raise InputError(msg, hint="docs/readers.md shows one")
    roles = section.get("roles", {})
    try:
        groups = {known_role(str(role)): tuple(map(str, names)) for role, names in roles.items()}
    except AccessError as error:
        msg = f"[medvit.roles] of {file.name}: {error.message}"
        raise InputError(msg) from error
    return Provider(
        name_claim=str(section.get("name_claim", "")),
        role_claim=str(section.get("role_claim", "")),
        groups=groups,
        admins=tuple(map(str, section.get("admins", ()))),
    )
