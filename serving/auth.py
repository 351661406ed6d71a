"""Who asks, and what that opens: the one dependency of routes that not everybody may use."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serving.problems import Problem, ProblemError

ADMIN_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": Problem, "description": "No bearer token; `WWW-Authenticate` names the scheme."},
    403: {"model": Problem, "description": "Not the admin's token, or the server has none."},
}
"""Refusals of routes that need the admin's token, for their `responses`."""
MORE_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {403: ADMIN_PROBLEMS[403]}
"""Refusals of open routes that tell more to whoever shows it."""
MORE_SECURITY: Final[dict[str, Any]] = {"security": [{}]}
"""What their `openapi_extra` says: a token may be shown, and need not."""


class Role(Enum):
    """What a principal may do."""

    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, by the token they showed.

    Attributes
    ----------
    name
        For logs; never a secret.
    roles
        What they may do.
    """

    name: str
    roles: frozenset[Role]


Require = Callable[..., Principal]
"""A dependency that gives the principal, or refuses."""
MaySee = Callable[[HTTPAuthorizationCredentials | None], bool]
"""Tells whether who shows a token, or none, is told more than everybody; a dependency where that always matters."""

BEARER: Final = HTTPBearer(auto_error=False, description="MARQUEE_ADMIN_TOKEN")
Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
"""The token of a request, None where it shows none."""


def require_role(role: Role, admin_token: str) -> Require:
    """Return the dependency of routes that need a role.

    It answers 401 to requests without a well-formed bearer token, 403 to tokens that do not open the route.

    Parameters
    ----------
    role
        What the principal must have.
    admin_token
        The one token there is; empty = none opens anything.
    """

    def require(given: Shown) -> Principal:
        if given is None:
            detail = "this route needs a token: `Authorization: Bearer TOKEN`"
            raise ProblemError(401, detail, headers={"WWW-Authenticate": "Bearer"})
        principal = _principal(given.credentials, admin_token)
        if principal is None or role not in principal.roles:
            raise ProblemError(403, "this token does not open this route")
        return principal

    return require


def may_see(role: Role, admin_token: str) -> MaySee:
    """Return the dependency of open routes that tell more to a role: whether who asks has it.

    It answers 403 to tokens that do not have it: whoever shows one should learn that it does not count.

    Parameters
    ----------
    role, admin_token
        As of `require_role`.
    """
    require = require_role(role, admin_token)

    def seen(given: Shown) -> bool:
        return given is not None and role in require(given).roles

    return seen


def _principal(token: str, admin_token: str) -> Principal | None:
    """Return whose token it is; headers are Latin-1 to the framework, their bytes are what clients sent."""
    if admin_token and secrets.compare_digest(token.encode("latin-1"), admin_token.encode()):
        return Principal("admin", frozenset({Role.ADMIN}))
    return None
