"""Roles of readers: what each may do, and who is acting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from medvit.errors import AccessError

Role = Literal["reader", "lead", "admin"]
Deed = Literal[
    "sign_in",
    "decide",
    "take_over",
    "overrule",
    "export",
    "start_job",
    "cancel_job",
    "see_names",
    "promote",
    "rollback",
    "set_role",
]
ROLES: tuple[Role, ...] = get_args(Role)

NEEDED: dict[Deed, Role] = {
    "sign_in": "reader",
    "decide": "reader",
    "take_over": "reader",
    "overrule": "lead",
    "export": "lead",
    "start_job": "lead",
    "cancel_job": "lead",
    "see_names": "lead",
    "promote": "admin",
    "rollback": "admin",
    "set_role": "admin",
}
"""The lowest role that may do a deed."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and as what.

    Attributes:
        assigned: Whether somebody gave this role. While nobody manages the roles of a store,
            its readers may do everything, but their word weighs no more than another's.
    """

    name: str
    role: Role = "reader"
    assigned: bool = True

    def may(self, deed: Deed) -> bool:
        """Return whether the role allows a deed."""
        return ROLES.index(self.role) >= ROLES.index(NEEDED[deed])

    @property
    def overrules(self) -> bool:
        """Whether a decision of this reader settles what others disagree about."""
        return self.assigned and self.may("overrule")

    def require(self, deed: Deed) -> None:
        """Check that the role allows a deed.

        Raises:
            AccessError: With the role that is needed and the one that is there.
        """
        if not self.may(deed):
            what = deed.replace("_", " ")
            msg = f"{what} needs the role {NEEDED[deed]}; {self.name!r} is a {self.role}"
            raise AccessError(msg, hint="ask an admin of this store for the role")


def known_role(value: str) -> Role:
    """Return a role by its name.

    Raises:
        AccessError: If there is no such role.
    """
    for role in ROLES:
        if role == value:
            return role
    msg = f"a role is one of {', '.join(ROLES)}, got {value!r}"
    raise AccessError(msg)
