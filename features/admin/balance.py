"""The account of one partition: what was read, what became of it, what stands, and what is missing."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Balance:
    """The account of one partition, over all its lives where the topic was made anew.

    Attributes
    ----------
    read
        Offsets that landing has passed since the first one it read.
    lag
        Offsets ahead of it now.
    stored, duplicate, dead, skipped
        What became of the offsets passed.
    erased, expired
        Stored rows that were taken away on purpose.
    rows, dead_letters
        What stands in the tables now.
    letters_expired
        Dead letters that retention took away.
    late, ahead
        Of the events read: how many occurred long before, and how many (by their producer's clock) had not yet.
    problems
        What is wrong, in words, with the offsets where they can be told.
    """

    topic: str
    partition: int
    read: int
    lag: int
    stored: int
    duplicate: int
    dead: int
    skipped: int
    erased: int
    expired: int
    rows: int
    dead_letters: int
    letters_expired: int = 0
    late: int = 0
    ahead: int = 0
    problems: tuple[str, ...] = ()

    @property
    def unaccounted(self) -> int:
        """Offsets passed of which no counter knows; below 0, some were counted twice."""
        return self.read - self.stored - self.duplicate - self.dead - self.skipped

    @property
    def rows_missing(self) -> int:
        """Rows that were stored and neither stand nor were taken away; below 0, rows that no counter knows."""
        return self.stored - self.erased - self.expired - self.rows

    @property
    def dead_letters_missing(self) -> int:
        """Dead letters that were counted and neither stand in the table nor were taken away."""
        return self.dead - self.letters_expired - self.dead_letters

    @property
    def balanced(self) -> bool:
        """Whether the numbers agree."""
        return not (self.unaccounted or self.rows_missing or self.dead_letters_missing) and self.lag >= 0

    @property
    def holds(self) -> bool:
        """Whether every event of the partition is accounted for, and nothing else is wrong with it."""
        return self.balanced and not self.problems

    def to_json(self) -> dict[str, object]:
        """Return the account with its differences, as JSON values."""
        differences = {
            "unaccounted": self.unaccounted,
            "rows_missing": self.rows_missing,
            "dead_letters_missing": self.dead_letters_missing,
            "holds": self.holds,
        }
        return asdict(self) | differences
