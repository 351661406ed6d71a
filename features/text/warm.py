"""Making a process ready for texts: compiled loops are loaded, or compiled, before somebody waits for them."""

from typing import Final

from features.text.documents import Document
from features.text.encoder import Encoder, query_of
from features.text.search import TextIndex

_SOME: Final = Document("The title of 1995", "J. K. Author", ("Category",), "Some text \u4e2d\u6587")


def warm(encoder: Encoder) -> None:
    """Embed, index and search one made-up document: the first time after an installation takes many seconds."""
    seen = encoder.embed([_SOME])
    index = TextIndex.build(seen.vectors, seen.terms)
    index.search(query_of(encoder, "some text"), 1)
    index.nearest(seen.vectors[0], 1)
