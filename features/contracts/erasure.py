"""Users who must not come back, known by a digest of their id that only the holder of a secret can make."""

import hashlib
import hmac
from typing import Final

from features.contracts.errors import MarqueeError

_NAME_DIGITS: Final = 16
_CHECK: Final = b"\0which secret"
"""No user's id holds U+0000, so that no user's key tells this."""


class ErasureSecretError(MarqueeError):
    """The secret is missing or another one: who was erased cannot be told."""


def user_key(secret: bytes, user_id: str) -> bytes:
    """Return the digest by which an erased user is known, 32 bytes: HMAC-SHA-256 of the id's UTF-8.

    Without the secret nobody can find out by trying ids who was erased.

    >>> user_key(b"secret", "u1").hex()[:16]
    '8a629605d37d74d6'

    Raises
    ------
    ErasureSecretError
        If the secret is empty.
    """
    return _digest(secret, user_id.encode())


def erased_name(key: bytes) -> str:
    """Return how an erased user is named where something must be said of them: the beginning of their key."""
    return f"erased user {key.hex()[:_NAME_DIGITS]}"


def secret_check(secret: bytes) -> str:
    """Return 16 hexadecimal digits that tell one secret from another and say nothing of either.

    Raises
    ------
    ErasureSecretError
        If the secret is empty.
    """
    return _digest(secret, _CHECK).hex()[:16]


def _digest(secret: bytes, message: bytes) -> bytes:
    if not secret:
        raise ErasureSecretError(
            "MARQUEE_ERASURE_SECRET is empty; expected the secret that erased users are known by. "
            "`make up` makes one and keeps it in `.run/env`; keep it as long as the database."
        )
    return hmac.digest(secret, message, hashlib.sha256)
