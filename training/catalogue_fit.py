"""How a catalogue file fits interactions: how many of the items met it knows, and whether it says anything of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.contracts.columns import ITEM
from features.contracts.ids import MISSING
from training.data import Interactions
from training.frames import read_items
from training.texts import load_documents

ENOUGH: Final = 0.8
"""Share of the items met that a catalogue should know: a newer file lacks a few, one of another shop most."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a catalogue fits the interactions of a file.

    Attributes
    ----------
    path, data
        The catalogue, and the file of the interactions.
    items, met, known
        Items of the catalogue, items that anybody met, and those of them that the catalogue names.
    named, lacked
        The catalogue's first id, and the first item met that it lacks, as examples; None where there is none.
    """

    path: Path
    data: Path
    items: int
    met: int
    known: int
    named: str | None
    lacked: str | None

    @property
    def line(self) -> str:
        """Return in a line how many of the items met the catalogue knows."""
        share = f"{self.known / max(self.met, 1):.1%}"
        return f"catalogue: {self.path} knows {self.known:,} of the {self.met:,} items that were met ({share})"

    @property
    def warning(self) -> str | None:
        """Return what is odd, and an example of it; None where enough is known."""
        if not self.known:
            example = "" if self.named is None else f", such as {self.named!r},"
            return (
                f"{self.path}: none of its {self.items:,} ids{example} occurs in {self.data}, where the first is "
                f"{self.lacked!r}: nothing that it says was of use."
            )
        if self.known >= ENOUGH * self.met:
            return None
        return (
            f"{self.path} knows only {self.known:,} of the {self.met:,} items in {self.data} "
            f"({self.known / self.met:.0%}): it says nothing of the others, such as {self.lacked!r}. Are its ids "
            "written as those there, and is it the whole catalogue?"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what ``metrics.json`` holds of it."""
        return {"items": self.items, "met": self.met, "known": self.known}


def fit_of(path: Path, data: Path, interactions: Interactions) -> Fit:
    """Return how the catalogue of a file fits interactions.

    Raises
    ------
    ContractError
        If the catalogue is broken.
    """
    ids, met = read_items(path)[ITEM].astype(str), interactions.items
    rows = met.index_or_missing(ids)
    lacked = np.setdiff1d(np.arange(len(met)), rows[rows != MISSING])
    return Fit(
        path,
        data,
        items=len(ids),
        met=len(met),
        known=len(met) - len(lacked),
        named=ids.iloc[0] if len(ids) else None,
        lacked=met.external(lacked[:1])[0] if len(lacked) else None,
    )


def without_texts(path: Path, interactions: Interactions) -> str | None:
    """Return that nothing new can be listed, where a catalogue says nothing in words of any item that was met."""
    if any(document.whole for document in load_documents(path, interactions.items)):
        return None
    return (
        f"--new-items: {path} says nothing in words of the items that were met, so that nothing new can be listed. New "
        "items are found by their texts: give columns such as title, text, author or categories."
    )
