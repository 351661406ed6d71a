"""Who of many users was erased: for what holds ids of its own while erasures go on."""

from collections.abc import Sequence
from typing import Final

from features.admin.erasure_secret import refuse_another_secret
from features.contracts.erasure import user_key
from features.db.connection import Connection
from features.db.queries import queries

USERS_AT_ONCE: Final = 50_000
"""Users of one question."""


def erased_users(connection: Connection, secret: bytes, user_ids: Sequence[str]) -> tuple[set[str], int]:
    """Return those of some users who were erased, and the number of the newest erasure that this surely knows of.

    Whoever goes on with the others asks for the newest one again inside the gate: none can come before it is left.

    Parameters
    ----------
    connection
        In no transaction.
    secret
        The key of the digests by which erased users are known; of no matter before anybody was erased.
    user_ids
        Whom to look for; none only asks whether the secret is the right one.

    Raises
    ------
    ErasureSecretError
        If users were erased and the secret is empty, or another one: nobody would be known.
    """
    with connection.transaction():
        newest: int = queries.newest_erasure(connection)
        if not newest:
            return set(), newest
        refuse_another_secret(connection, secret)
        found = set[str]()
        for first in range(0, len(user_ids), USERS_AT_ONCE):
            users = {user_key(secret, user): user for user in user_ids[first : first + USERS_AT_ONCE]}
            found.update(users[bytes(key)] for (key,) in queries.erased_among(connection, user_keys=[*users]))
    return found, newest
