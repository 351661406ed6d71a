"""What is wrong with the rows of a file: how often each kind of problem occurs, with the first ten examples."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from features.landing.bulk.files import FileError

EXAMPLES: Final = 10


@dataclass(slots=True)
class Problem:
    """One kind of problem: in which column, what was expected, how many rows have it, and some of them."""

    column: str
    message: str
    rows: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What a look at all rows of a file found.

    Attributes
    ----------
    path
        The file.
    rows, bad_rows
        How many it has, and how many of them cannot be imported.
    repeated_rows
        How many good rows say the same as an earlier one; each counts.
    problems
        Kinds of problems; a bad row has at least one.
    """

    path: Path
    rows: int = 0
    bad_rows: int = 0
    repeated_rows: int = 0
    problems: dict[tuple[str, str], Problem] = field(default_factory=dict)

    def add(self, column: str, message: str, found: Iterable[tuple[int, Any]], rows: int) -> None:
        """Count rows that have a problem.

        Parameters
        ----------
        column, message
            Which problem it is.
        found
            Number from 1, and value, of at least the first `EXAMPLES` of them.
        rows
            How many they are.
        """
        problem = self.problems.setdefault((column, message), Problem(column, message))
        problem.rows += rows
        for number, value in found:
            if len(problem.examples) >= EXAMPLES:
                return
            problem.examples.append((number, f"{value!r:.100}"))

    def refuse(self) -> None:
        """Return if every row can be imported.

        Raises
        ------
        FileError
            Naming every kind of problem.
        """
        if not self.bad_rows:
            return
        lines = [f"{self.path}: {self.bad_rows} of {self.rows} rows cannot be imported; nothing was written"]
        for problem in self.problems.values():
            lines += [f"{problem.rows} rows, column {problem.column}: {problem.message}:"]
            lines += [f"  row {number}, column {problem.column}: {value}" for number, value in problem.examples]
        raise FileError("\n  ".join(lines) + "\nMend them, or leave them out with --skip-bad.")
