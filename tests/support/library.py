"""A small library of made-up books of two kinds, whose words tell them apart."""

import numpy as np

from features.text.documents import Document

_KINDS = {
    "Fantasy": "dragon sword castle wizard quest magic kingdom elf throne spell",
    "Finance": "stock market bond interest profit ledger bank credit price risk",
}
_NAMES = "Alder Birch Cedar Dogwood Elm Fir Gorse Hazel Ivy Juniper".split()  # noqa: SIM905 - a list of words reads so


def library(n_documents: int = 200, seed: int = 0) -> list[Document]:
    """Return documents with title, author, category and text; even ones are fantasy, odd ones finance."""
    rng = np.random.default_rng(seed)
    documents = []
    for number in range(n_documents):
        kind = ("Fantasy", "Finance")[number % 2]
        words = _KINDS[kind].split()
        title = f"The {rng.choice(words)} of the {rng.choice(words)} {number}".title()
        text = " ".join(rng.choice(words, 12))
        documents.append(Document(title, f"Ann {rng.choice(_NAMES)}", (kind,), text))
    return documents
