"""Erased users stay erased: their events are dropped in the transaction that would have landed them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from features.admin.erasure_secret import refuse_another_secret
from features.admin.letter_users import users_named
from features.contracts.erasure import user_key
from features.contracts.events import BaseEvent, Feedback, Impression, Interaction, User
from features.db.connection import Connection
from features.db.queries import queries
from features.landing.rows import DeadLetter, Decoded, Partition, Row, Rows

USER_COLUMN: Final[Mapping[type[BaseEvent], int]] = {Interaction: 1, Impression: 1, User: 1, Feedback: 2}
"""Where the row of each kind of event that has a user names them."""
REMEMBERED: Final = 100_000
"""Users of whom it is remembered whether they were erased: a digest costs more than looking one up."""


class Erased:
    """Which users were erased, followed from the database; only their keyed digests are held.

    Parameters
    ----------
    secret
        The key of the digests.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._keys: set[bytes] = set()
        self._known: dict[str, bool] = {}
        self._seen = 0

    def refresh(self, connection: Connection) -> None:
        """Learn of new erasures, inside the gate: none can come before the transaction under way ends.

        Raises
        ------
        ErasureSecretError
            If the secret is empty, or not the one under which users were erased: nobody would be known.
        """
        if fresh := list(queries.erasures_after(connection, erasure_id=self._seen)):
            if not self._seen:  # once: each later erasure is held to the secret of the first ones
                refuse_another_secret(connection, self._secret)
            self._keys.update(key for _, key in fresh)
            self._seen = fresh[-1][0]
            self._known.clear()

    def __contains__(self, user_id: str) -> bool:
        """Return whether a user was erased."""
        if not self._keys:
            return False
        known = self._known.get(user_id)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[user_id] = user_key(self._secret, user_id) in self._keys
        return known

    def drop(self, decoded: Decoded) -> tuple[Decoded, Counter[Partition]]:
        """Return a batch without what belongs to erased users, and how many messages of each partition that were."""
        if not self._keys:
            return decoded, Counter()
        rows, dropped = self.drop_rows(decoded.rows)
        dead = [letter for letter in decoded.dead if not self._named_by(letter)]
        dropped.update(letter.place[:2] for letter in decoded.dead)
        dropped.subtract(letter.place[:2] for letter in dead)
        return Decoded(rows, dead, decoded.late, decoded.ahead), dropped

    def _named_by(self, letter: DeadLetter) -> bool:
        named = users_named(letter.place.topic, letter.key, letter.raw)
        return any(user_id in self for user_id in named)

    def drop_rows(self, rows: Rows) -> tuple[dict[type[BaseEvent], Sequence[Row]], Counter[Partition]]:
        """Return rows without those of erased users, and how many of each partition that were."""
        kept: dict[type[BaseEvent], Sequence[Row]] = dict(rows)
        dropped: Counter[Partition] = Counter()
        for kind, column in USER_COLUMN.items():
            if self._keys and (of_kind := rows.get(kind)):
                kept[kind] = [row for row in of_kind if row[column] is None or row[column] not in self]
                if len(kept[kind]) < len(of_kind):
                    dropped.update(row[-3:-1] for row in of_kind if row[column] is not None and row[column] in self)
        return kept, dropped
