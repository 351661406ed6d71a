"""All texts that can be searched: the same answers as one index over all of them, whatever came when."""

import asyncio
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.errors import UnavailableError
from features.contracts.ids import IdMap
from features.contracts.times import to_us
from features.text.documents import Document
from features.text.encoder import Encoder, query_of
from features.text.search import TextIndex
from serving import text_follower
from serving.item_states import ItemStates, ItemTable
from serving.text_follower import TextFollower
from serving.texts import SMALL, Filter, Segment, Texts
from tests.support.serving_texts import T0, MemoryTexts, encoder_of, rows_of, state_of, text_of

NOW_US = to_us(T0)


def follower_of(source: MemoryTexts, states: ItemStates, *encoders: Encoder) -> TextFollower:
    known = {encoder.digest: encoder for encoder in encoders}

    def load(digest: str) -> Encoder:
        if digest not in known:
            raise UnavailableError(f"encoder {digest}: not here")
        return known[digest]

    return TextFollower(source, states, load, clock_s=iter(range(0, 10**9, 10)).__next__)


def base_of(states: ItemStates, documents: Mapping[str, Document]) -> Segment:
    rows = rows_of(encoder_of(), documents)
    return Segment.of(ItemTable.of(states, IdMap(list(documents))), TextIndex.build(rows.vectors, rows.terms))


def found(texts: Texts, query: str, k: int = 5, asked: Filter | None = None) -> list[tuple[str, float]]:
    assert texts.encoder is not None
    masks = texts.eligible(NOW_US, asked or Filter())
    return [(hit.item_id, hit.score) for hit in texts.search(query_of(texts.encoder, query), k, masks)]


CHANGES = st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 200)), max_size=6), max_size=6)


@settings(max_examples=40, deadline=None)
@given(CHANGES, st.integers(0, 12), st.sampled_from(["whale ship", "bread oven", "judge", "storm captain soup"]))
def test_a_search_in_parts_is_a_search_in_the_whole(
    loads: list[list[tuple[int, int]]], n_base: int, query: str
) -> None:
    encoder, source, states = encoder_of(), MemoryTexts(), ItemStates()
    present = {f"i{number}": text_of(number) for number in range(n_base)}
    base = base_of(states, present) if present else None

    async def follow() -> Texts:
        follower = follower_of(source, states, encoder)
        texts = await follower.begin(encoder.digest, base, to_us(T0))
        for load in loads:
            changed = {f"i{item}": text_of(number) for item, number in load}
            present.update(changed)
            source.embed(encoder, changed)
            texts = await follower.refreshed(texts)
        return texts

    texts = asyncio.run(follow())
    assert texts.n_texts == len(present)
    if not present:
        return
    rows = rows_of(encoder, present)
    whole = Texts(
        encoder.digest,
        encoder,
        base=Segment.of(ItemTable.of(states, IdMap(list(present))), TextIndex.build(rows.vectors, rows.terms)),
    )
    ours, theirs = found(texts, query, 40), found(whole, query, 40)
    assert dict(ours) == dict(theirs)
    assert [score for _, score in ours] == [score for _, score in theirs]
    for item_id in present:
        np.testing.assert_array_equal(texts.vector(item_id), whole.vector(item_id))


def test_what_may_not_be_shown_is_not_found() -> None:
    encoder, states = encoder_of(), ItemStates()
    documents = {f"i{number}": text_of(3 * number) for number in range(5)}
    states.apply([state_of(item_id, document) for item_id, document in documents.items()], T0)
    texts = Texts(encoder.digest, encoder, base=base_of(states, documents), loaded=True)
    everything = {item_id for item_id, _ in found(texts, "whale ship harbour storm captain island sailor wave")}
    assert everything == set(documents)

    gone = [state_of("i1", documents["i1"], hidden=True), state_of("i2", documents["i2"], hidden=True, deleted=True)]
    states.apply([*gone, state_of("i3", documents["i3"], categories=("other",))], T0)

    def ids(asked: Filter) -> set[str]:
        return {item_id for item_id, _ in found(texts, "whale ship harbour storm captain island sailor wave", 5, asked)}

    assert ids(Filter()) == {"i0", "i3", "i4"}
    assert ids(Filter(include_hidden=True)) == {"i0", "i1", "i3", "i4"}
    assert ids(Filter(categories=["sea"])) == {"i0", "i4"}
    assert ids(Filter(exclude=["i0", "nobody"])) == {"i3", "i4"}
    assert ids(Filter(categories=["nothing"])) == set()


def test_many_texts_lie_in_few_segments() -> None:
    encoder, source, states = encoder_of(), MemoryTexts(), ItemStates()

    async def follow() -> list[int]:
        follower, sizes = follower_of(source, states, encoder), []
        texts = await follower.begin(encoder.digest)
        for lot in range(12):
            source.embed(encoder, {f"i{number}": text_of(number) for number in range(300 * lot, 300 * lot + 300)})
            texts = await follower.refreshed(texts)
            sizes.append(len(texts.newer))
        assert texts.n_texts == 3600
        assert len(texts.newer[0].alive) > SMALL
        return sizes

    assert max(asyncio.run(follow())) <= 3


def test_nothing_new_is_the_same_object_and_reads_no_text() -> None:
    encoder, source, states = encoder_of(), MemoryTexts(), ItemStates()
    source.embed(encoder, {"a": text_of(1)})

    async def follow() -> None:
        follower = follower_of(source, states, encoder)
        texts = await follower.begin(encoder.digest)
        before = source.reads
        assert await follower.refreshed(texts) is texts
        assert source.reads == before + 1

    asyncio.run(follow())


def test_a_bundle_of_the_same_encoder_takes_over_what_was_read() -> None:
    encoder, source, states = encoder_of(), MemoryTexts(), ItemStates()
    source.embed(encoder, {"a": text_of(1), "b": text_of(2)})

    async def follow() -> None:
        follower = follower_of(source, states, encoder)
        bare = await follower.begin(encoder.digest)
        source.away = True
        until_us = to_us(T0) + 3_600_000_000
        taken_over = await follower.begin(encoder.digest, base_of(states, {"a": text_of(1)}), until_us, bare)
        assert taken_over.loaded
        assert (taken_over.n_texts, taken_over.newer[0].rows.item_ids) == (2, ["b"])
        older = await follower.begin(encoder.digest, base_of(states, {"a": text_of(1)}), -1, taken_over)
        assert not older.loaded, "what was embedded between the two bundles is not here"

    asyncio.run(follow())


def test_what_a_bundle_lacks_is_found_however_old_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_follower, "IDS", 2)
    monkeypatch.setattr(text_follower, "PAGE", 2)
    encoder, source, states = encoder_of(), MemoryTexts(), ItemStates()
    source.embed(encoder, {f"i{number}": text_of(number) for number in range(7)})
    until_us = to_us(T0) + 3_600_000_000
    base = base_of(states, {"i1": text_of(1), "i4": text_of(4)})

    async def follow() -> None:
        follower = follower_of(source, states, encoder)
        texts = await follower.begin(encoder.digest, base, until_us)
        assert (texts.loaded, texts.n_texts, texts.newest_us) == (True, 7, until_us)
        assert texts.base is not None
        assert texts.base.alive.all()
        assert await follower.refreshed(texts) is texts

    asyncio.run(follow())


def test_what_the_next_bundle_lacks_of_the_one_before_is_read_once_it_can_be() -> None:
    encoder, source, states = encoder_of(), MemoryTexts(), ItemStates()
    known = {f"i{number}": text_of(number) for number in range(4)}
    source.embed(encoder, known)
    until_us = to_us(T0) + 3_600_000_000

    async def follow() -> None:
        follower = follower_of(source, states, encoder)
        before = await follower.begin(encoder.digest, base_of(states, known), until_us)
        less = base_of(states, {"i1": text_of(1)})
        after = await follower.begin(encoder.digest, less, until_us + 1, before)
        assert (after.loaded, after.n_texts) == (True, 4)
        source.away = True
        after = await follower.begin(encoder.digest, less, until_us + 1, before)
        assert (after.loaded, after.n_texts) == (False, 1)
        source.away = False
        after = await follower.refreshed(after)
        assert (after.loaded, after.n_texts) == (True, 4)

    asyncio.run(follow())


def test_an_encoder_that_cannot_be_loaded_is_tried_again() -> None:
    encoder, source, states = encoder_of(), MemoryTexts(), ItemStates()
    source.embed(encoder, {"a": text_of(0), "b": text_of(3)})
    known: dict[str, Encoder] = {}
    now = [0.0]

    def load(digest: str) -> Encoder:
        if digest not in known:
            raise UnavailableError(f"encoder {digest}: not here")
        return known[digest]

    async def follow() -> None:
        follower = TextFollower(source, states, load, clock_s=lambda: now[0])
        texts = await follower.begin(encoder.digest)
        assert (texts.encoder, texts.loaded) == (None, True)
        assert "not here" in str(texts.fault)
        vector = texts.vector("a")
        assert vector is not None
        hits = texts.nearest(vector, 1, texts.eligible(NOW_US, Filter(exclude=["a"])))
        assert [hit.item_id for hit in hits] == ["b"]
        known[encoder.digest] = encoder
        assert (await follower.refreshed(texts)).encoder is None, "not again at once"
        now[0] += 60
        assert (await follower.refreshed(texts)).encoder is encoder

    asyncio.run(follow())


def test_without_postgres_a_bundles_texts_are_there_and_the_rest_follows() -> None:
    encoder, source, states = encoder_of(), MemoryTexts(away=True), ItemStates()
    source.embed(encoder, {"b": text_of(2)})

    async def follow() -> None:
        follower = follower_of(source, states, encoder)
        texts = await follower.begin(encoder.digest, base_of(states, {"a": text_of(1)}), to_us(T0))
        assert (texts.loaded, texts.n_texts) == (False, 1)
        with pytest.raises(UnavailableError):
            await follower.refreshed(texts)
        source.away = False
        texts = await follower.refreshed(texts)
        assert (texts.loaded, texts.n_texts) == (True, 2)

    asyncio.run(follow())
