"""One secret for all erasures: under another one, those who were erased would not be known."""

from features.contracts.erasure import ErasureSecretError, secret_check
from features.db.connection import Connection
from features.db.queries import queries


def refuse_another_secret(connection: Connection, secret: bytes) -> None:
    """Return if all erasures so far were made under this secret, in the transaction under way.

    Raises
    ------
    ErasureSecretError
        If the secret is empty, or another one.
    """
    if foreign := queries.foreign_erasures(connection, secret_check=secret_check(secret)):
        raise ErasureSecretError(
            f"MARQUEE_ERASURE_SECRET is not the one under which {foreign} users were erased before: with another one "
            "they would come back. Set it to the former value."
        )
