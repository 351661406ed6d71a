"""Who is near whom does not hang on the year that titles end with."""

import numpy as np
import pytest

from features.text.documents import Document
from features.text.encoder import Encoder, Vectors
from features.text.svd import fit_svd
from features.text.years import beside_year

NOUNS = ("harbour", "verdict", "bakery", "glacier", "orchard", "circus", "tunnel", "violin", "lantern", "meadow")
FILMS = [
    Document(title=f"The {noun} {part} ({1970 + (7 * row + 3 * part) % 20})", categories=(f"kind {row % 3}",))
    for row, noun in enumerate(NOUNS)
    for part in range(1, 7)
]
TITLES = [film.title for film in FILMS]
YEARS = np.array([title[-5:] for title in TITLES])


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Return an encoder of few axes, fitted on films that have sequels in other years."""
    return fit_svd(FILMS, dimension=24)


def share_of_same_year(vectors: Vectors) -> float:
    """Return how many of the five nearest are of the same year, on average."""
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    nearest = np.argsort(-near, axis=1)[:, :5]
    return float((YEARS[nearest] == YEARS[:, None]).mean())


def test_the_nearest_are_alike_for_their_words(encoder: Encoder) -> None:
    whole = encoder.encode_documents(FILMS)
    left = np.stack([beside_year(encoder, *film) for film in zip(whole, TITLES, strict=True)])
    chance = float((YEARS[:, None] == YEARS).mean())
    assert share_of_same_year(whole) > 0.3
    assert share_of_same_year(left) < 2 * chance
    assert np.linalg.norm(left, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_what_tells_no_year_stays_and_what_tells_nothing_else_is_nothing(encoder: Encoder) -> None:
    documents = [Document(title="The harbour"), Document(title="(1977)"), Document()]
    whole = encoder.encode_documents(documents)
    left = np.stack([beside_year(encoder, row, said.title) for row, said in zip(whole, documents, strict=True)])
    assert (left[0] == whole[0]).all()
    assert not left[1:].any()


def test_halves_stay_halves(encoder: Encoder) -> None:
    vector = encoder.encode_documents(FILMS[:1])[0].astype(np.float16)
    assert beside_year(encoder, vector, TITLES[0]).dtype == np.float16
