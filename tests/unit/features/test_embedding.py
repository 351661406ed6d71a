"""The embedder's parts that need no database: how rows are packed, when drift asks for a fit, when the scan rests."""

import numpy as np

from features.embedding.drift import Drift
from features.embedding.rows import nothing, packed, unpacked_terms, unpacked_vectors
from features.embedding.scan import Scan
from features.text.encoder import Embedded
from features.text.terms import Terms


def test_rows_hold_what_was_embedded_in_half_precision() -> None:
    terms = Terms(
        np.array([0, 2, 2, 5]),
        np.array([3, 70_000, 1, 2, 196_000], np.int32),
        np.arange(5, dtype=np.float32) / np.float32(3),
    )
    vectors = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)

    rows = packed(Embedded(vectors, terms))

    assert [(len(vector), len(of)) for vector, of in rows] == [(16, 12), (16, 0), (16, 18)]
    np.testing.assert_array_equal(unpacked_vectors([vector for vector, _ in rows], 8), vectors.astype(np.float16))
    again = unpacked_terms([of for _, of in rows])
    np.testing.assert_array_equal(again.offsets, terms.offsets)
    np.testing.assert_array_equal(again.index, terms.index)
    np.testing.assert_array_equal(again.value, terms.value.astype(np.float16).astype(np.float32))


def test_nothing_is_zeros_and_no_term() -> None:
    vector, terms = nothing(4)
    assert not unpacked_vectors([vector], 4).any()
    assert len(unpacked_terms([terms, terms])) == 2
    assert len(unpacked_terms([])) == 0


def test_drift_asks_only_where_far_less_is_explained_than_was_to_be_expected() -> None:
    assert not Drift(texts=600, explained=0.19, expected=0.3).drifted
    assert Drift(texts=600, explained=0.17, expected=0.3).drifted
    assert "0.170 of 600 new texts" in str(Drift(texts=600, explained=0.17, expected=0.3))


def test_the_scan_is_due_at_the_start_and_whenever_it_is_asked_to_look_again() -> None:
    scan = Scan(pause_s=60)
    assert scan.due
    assert not scan.resting
    scan._end()
    assert scan.resting
    scan.again()
    assert scan.due
