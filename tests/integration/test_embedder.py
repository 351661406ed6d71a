"""The embedder: new, changed and deleted items, poison, what the queue lost; and the life of encoders."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from features.contracts.events import stamp_event
from features.db.connection import Connection
from features.embedding.batches import Outcome, embed_batch, embedded_alone, prepare
from features.embedding.encoders import (
    embedded_before,
    keep_only,
    known_encoders,
    load_encoder,
    name_encoders,
    newest_ready,
)
from features.embedding.ensure import ensure_encoder
from features.embedding.export import export_vectors
from features.embedding.fitting import fit, need_of_fit
from features.embedding.rows import unpacked_terms, unpacked_vectors
from features.embedding.upkeep import forget_some, mark_ready, prune, retire
from features.text.documents import Document
from features.text.encoder import Embedded, EncoderError
from features.text.svd import SvdEncoder
from tests.conftest import WaitUntil
from tests.support.tables import fill
from tests.support.texts import TextRig, small_encoder, text_rig, words_of

pytestmark = pytest.mark.integration
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def rig(database_url: str, tmp_path: Path) -> Iterator[TextRig]:
    with text_rig(database_url, tmp_path) as rig:
        yield rig


class Picky(SvdEncoder):
    """An encoder that fails on whatever speaks of poison."""

    def embed(self, documents: Sequence[Document]) -> Embedded:
        if any("poison" in document.text for document in documents):
            raise ValueError("this one I cannot read")
        return super().embed(documents)


def drain(rig: TextRig, size: int = 500, **encoders: SvdEncoder) -> list[Outcome]:
    """Return what became of all batches until nothing waits; by the encoders in use, or those given in their place."""
    with rig.connection() as connection:
        prepare(connection)
        used = {
            one.digest: load_encoder(rig.settings, one.digest, rig.settings.cache_dir)
            for one in known_encoders(connection)
            if one.state != "retired"
        }
        used |= {digest.removeprefix("d"): encoder for digest, encoder in encoders.items()}
        done = []
        while (outcome := embed_batch(connection, used, size)).claimed:
            done.append(outcome)
        mark_ready(connection)
        return done


def queued(rig: TextRig) -> int:
    [(count,)] = rig.rows("SELECT count(*) FROM embedding_queue")
    return int(count)


def test_what_landing_and_imports_write_is_queued_and_a_price_alone_is_not(rig: TextRig) -> None:
    def version(number: int, **said: object) -> None:
        event = stamp_event({"type": "item", "item_id": "a", **said}, now=NOW, event_id=f"v{number}")
        fill(rig.settings, [event], datetime.now(UTC))

    rig.put(small_encoder(60))
    version(1, title="Heat", attributes={"price": 1}, occurred_at="2026-01-01T00:00:01Z")
    assert queued(rig) == 1
    assert [outcome.embedded for outcome in drain(rig)] == [1]

    version(2, partial=True, attributes={"price": 2}, hidden=True, occurred_at="2026-01-01T00:00:02Z")
    assert queued(rig) == 0, "nothing that is read has changed"
    changes: list[dict[str, object]] = [{"title": "Cold"}, {"text": "A thief."}, {"categories": ["Crime"]}]
    changes.append({"attributes": {"author": "Mann"}})
    for number, changed in enumerate(changes, 3):
        version(number, partial=True, **changed, occurred_at=f"2026-01-01T00:00:0{number}Z")
        assert queued(rig) == 1, changed
        assert [outcome.embedded for outcome in drain(rig)] == [1], (
            "the vector of the new text takes the old one's place"
        )

    version(8, partial=True, deleted=True, occurred_at="2026-01-01T00:00:08Z")
    assert rig.whole(), "what is deleted keeps its vector: histories name it, and it may come back"
    assert rig.rows("SELECT count(*) FROM item_vectors") == [(1,)]


def test_a_vector_is_dated_after_those_before_it_though_the_clock_was_set_back(rig: TextRig) -> None:
    rig.put(small_encoder(60))
    for item_id in ("a", "b"):
        rig.rows("UPDATE item_vectors SET embedded_at = now() + interval '1 hour' RETURNING true")
        event = stamp_event({"type": "item", "item_id": item_id, "title": "Heat"}, now=NOW, event_id=item_id)
        fill(rig.settings, [event], datetime.now(UTC))
        drain(rig)
    assert rig.rows("SELECT item_id FROM item_vectors ORDER BY embedded_at") == [("a",), ("b",)]


def test_a_catalogue_that_is_imported_is_queued(rig: TextRig, tmp_path: Path) -> None:
    rows = "\n".join(f"m{number},{words_of(number, 4)}" for number in range(25))
    (tmp_path / "items.csv").write_text(f"item_id,title\n{rows}\n", encoding="utf-8")

    rig.command("import", "--items", str(tmp_path / "items.csv"))
    rig.command("import", "--items", str(tmp_path / "items.csv"))

    assert queued(rig) == 25, "and what is imported again is not queued again"


def test_a_row_that_is_gone_takes_its_vectors_with_it(rig: TextRig) -> None:
    rig.put(small_encoder(60))
    rig.publish(range(3))
    drain(rig)

    rig.do("DELETE FROM items WHERE item_id = 'i1'")

    assert [outcome.gone for outcome in drain(rig)] == [1]
    assert rig.rows("SELECT item_id FROM item_vectors ORDER BY item_id") == [("i0",), ("i2",)]


def test_what_changed_last_does_not_wait_for_all_that_came_before(rig: TextRig) -> None:
    rig.put(small_encoder(60))
    rig.publish(range(1_000))
    rig.publish([1], prefix="new")

    with rig.connection() as connection:
        prepare(connection)
        encoders = {one.digest: small_encoder(60) for one in known_encoders(connection)}
        embed_batch(connection, encoders, 20)

    assert rig.rows("SELECT count(*) FROM item_vectors WHERE item_id IN ('new1', 'i0')") == [(2,)], "nor the first"


def test_poison_is_embedded_alone_and_noted_and_blocks_nobody(rig: TextRig) -> None:
    plain = small_encoder(60)
    assert isinstance(plain, SvdEncoder)
    picky = Picky(plain.lexicon, plain._kept, plain._axes, plain.facts)
    digest = rig.put(picky)
    rig.publish(range(40))
    rig.publish([1, 2], prefix="p", said="poison here")
    odd = ["", "   ", "\u0301" * 5_000, "ha " * 30_000, "x" * 99_000, "\U0001f409\u200d\u202e\ufffe", "!?" * 500]
    for number, said in enumerate(odd):
        rig.publish([number], prefix="o", said=said)
    rig.do("UPDATE items SET categories = '{}', attributes = '{}' WHERE item_id LIKE 'o%'")

    outcomes = drain(rig, 500, **{f"d{digest}": picky})

    assert sum(outcome.failed for outcome in outcomes) == 2
    assert rig.whole()
    failed = rig.rows("SELECT item_id, vector, terms, error FROM item_vectors WHERE error IS NOT NULL ORDER BY item_id")
    nothing = (bytes(2 * picky.dimension), b"")
    assert [(item_id, *said) for item_id, *said, _ in failed] == [("p1", *nothing), ("p2", *nothing)]
    assert "cannot read" in failed[0][3]
    zeros = rig.rows("SELECT item_id FROM item_vectors WHERE vector = %s AND error IS NULL", nothing[0])
    assert {("o0",), ("o1",), ("o6",)} <= set(zeros)
    assert '"failed": 2' in rig.command("items", "stats", "--json")


def test_one_that_fails_takes_no_other_with_it() -> None:
    plain = small_encoder(60)
    assert isinstance(plain, SvdEncoder)
    picky = Picky(plain.lexicon, plain._kept, plain._axes, plain.facts)
    documents = [Document(text=words_of(n) + (" poison" if n == 5 else "")) for n in range(9)]

    rows = list(embedded_alone(picky, documents))

    assert [error is not None for *_, error in rows] == [n == 5 for n in range(9)]
    expected = plain.embed(documents)
    vectors = unpacked_vectors([vector for vector, _, _ in rows], plain.dimension)
    np.testing.assert_array_equal(np.delete(vectors, 5, 0), np.delete(expected.vectors.astype(np.float16), 5, 0))
    terms = unpacked_terms([terms for _, terms, _ in rows])
    np.testing.assert_array_equal(terms.of(8).index, expected.terms.of(8).index)


def test_what_the_queue_lost_is_found_by_the_scan(rig: TextRig, wait_until: WaitUntil) -> None:
    rig.put(small_encoder(400))
    rig.publish(range(50))
    rig.do("TRUNCATE embedding_queue")
    rig.start("--scan-every", "0.2")
    wait_until(rig.whole, timeout=40, what="items that were in no queue at the start are embedded")

    rig.do("ALTER TABLE items DISABLE TRIGGER USER")
    rig.publish(range(50, 60))
    rig.publish([7], said="it says something else now")
    rig.do("ALTER TABLE items ENABLE TRIGGER USER")

    wait_until(rig.whole, timeout=20, what="items that came into no queue are embedded while it runs")
    assert not rig.written_more_than_once()


def test_a_second_encoder_is_built_beside_the_first_and_switches_whole(rig: TextRig, wait_until: WaitUntil) -> None:
    rig.publish(range(700))
    first = rig.put(small_encoder(400))
    embedder = rig.start("--batch", "50", "--scan-every", "0.2")
    wait_until(rig.whole, timeout=40, what="the first encoder is ready")
    second = rig.put(small_encoder(400, seed=1))

    def switched() -> bool:
        with rig.connection() as connection:
            assert newest_ready(connection) is not None, "one is always ready"
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                [(vectors, items, ready)] = connection.execute(
                    "SELECT (SELECT count(*) FROM item_vectors WHERE encoder = %s), (SELECT count(*) FROM items), "
                    "(SELECT state = 'ready' FROM encoders WHERE digest = %s)",
                    [second, second],
                ).fetchall()
            assert not ready or vectors == items, "ready means whole"
            return bool(ready)

    wait_until(switched, timeout=40, what="the second encoder is ready")
    with rig.connection() as connection:
        newest = newest_ready(connection)
    assert newest is not None
    assert newest.digest == second
    rig.publish([9], prefix="new")
    wait_until(rig.whole, timeout=20, what="both have a vector of what is new")

    assert rig.rows("SELECT encoder, count(*) FROM written GROUP BY encoder ORDER BY encoder") == sorted(
        [(first, 701), (second, 701)]
    )
    embedder.terminate()
    embedder.wait()
    assert "is retired" in rig.command("encoders", "prune", "--keep", second[:12])
    assert rig.rows("SELECT DISTINCT encoder FROM item_vectors") == [(second,)]
    assert load_encoder(rig.settings, second, rig.settings.cache_dir / "other").digest == second
    with pytest.raises(EncoderError, match="no files"):
        load_encoder(rig.settings, first, rig.settings.cache_dir / "other")


def test_an_encoder_that_a_bundle_names_stays_and_comes_back(rig: TextRig) -> None:
    rig.publish(range(20))
    digests = []
    for seed in range(3):
        digests.append(rig.put(small_encoder(60, seed=seed)))
        rig.do("INSERT INTO embedding_queue (item_id) SELECT item_id FROM items")
        drain(rig)
    first, second, third = digests
    with rig.connection() as connection:
        name_encoders(connection, [second])  # else its files would go with its vectors
        assert keep_only(connection, [first]) == [second], "the newest stays in any case"
        assert prune(connection, files=False)[0] == 20
        assert keep_only(connection, [second]) == [first]
        states = {one.digest: one.state for one in known_encoders(connection)}
    assert states == {first: "retired", second: "building", third: "ready"}
    assert load_encoder(rig.settings, first, rig.settings.cache_dir / "late").digest == first, "its files stay"


def one_retired(rig: TextRig) -> tuple[str, str]:
    """Return an older encoder, which is retired and keeps its files, and a newer one that is ready."""
    rig.publish(range(20))
    first, second = (rig.put(small_encoder(60, seed=seed)) for seed in range(2))
    drain(rig)
    with rig.connection() as connection:
        name_encoders(connection, [first])
        assert keep_only(connection, [second]) == [first]
    return first, second


def test_an_encoder_that_comes_back_is_built_whole_and_is_not_the_newest(rig: TextRig) -> None:
    first, second = one_retired(rig)
    with rig.connection() as connection:
        rig.publish([99])
        assert keep_only(connection, [first, second]) == []
        assert mark_ready(connection) == [], "it lacks what came while it was retired"
    drain(rig)
    with rig.connection() as connection:
        assert {one.state for one in known_encoders(connection)} == {"ready"}
        rig.do("UPDATE encoders SET ready_at = ready_at - interval '1 hour'")
        assert retire(connection) == [], "nothing newer has come"
        newest = newest_ready(connection)
    assert newest is not None
    assert newest.digest == second == ensure_encoder(rig.settings)


def test_an_encoder_whose_files_were_pruned_does_not_come_back_and_keeps_nobody_from_fitting(rig: TextRig) -> None:
    first, second = one_retired(rig)
    with rig.connection() as connection:
        assert prune(connection, files=True)[1] > 0
        rig.publish(range(20, 240))  # the corpus outgrows its encoder
        with capture_logs() as told:
            assert keep_only(connection, [first, second]) == []
        assert {one.digest: one.state for one in known_encoders(connection)} == {first: "retired", second: "ready"}
        assert "grew from 60 to 240" in str(need_of_fit(rig.settings, connection).reason)
    assert [(line["log_level"], line["encoder"]) for line in told] == [("warning", first)]


def test_an_encoder_that_no_bundle_names_retires_by_itself_after_a_newer_one_is_ready(rig: TextRig) -> None:
    rig.publish(range(20))
    first, second, third = (rig.put(small_encoder(60, seed=seed)) for seed in range(3))
    drain(rig)
    with rig.connection() as connection:
        name_encoders(connection, [second])
        assert not retire(connection), "readers have some minutes to switch"
        rig.do("UPDATE encoders SET ready_at = ready_at - interval '1 hour'")
        assert retire(connection) == [first]
        assert forget_some(connection) == 20
        assert {one.digest for one in known_encoders(connection) if one.state == "ready"} == {second, third}


def test_a_copy_that_was_damaged_on_disk_is_fetched_again(rig: TextRig, tmp_path: Path) -> None:
    digest = rig.put(small_encoder(60))
    cache = tmp_path / "encoders"
    load_encoder(rig.settings, digest, cache)
    file = cache / digest / "axes.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)

    assert load_encoder(rig.settings, digest, cache).digest == digest
    assert [path.name for path in cache.iterdir()] == [digest]
    away = rig.settings.model_copy(update={"database_url": SecretStr("postgresql://nobody@127.0.0.1:1/x")})
    assert load_encoder(away, digest, cache).digest == digest, "a good copy needs no database"
    rig.do("UPDATE encoder_files SET content = set_byte(content, 200, 0) WHERE name = 'axes.npy'")
    with pytest.raises(EncoderError, match=r"axes\.npy"):
        load_encoder(rig.settings, digest, tmp_path / "elsewhere")


def test_when_an_encoder_is_fetched_copies_that_nobody_needs_go(rig: TextRig, tmp_path: Path) -> None:
    retired, served, named, new = (rig.put(small_encoder(60, seed=seed)) for seed in range(4))
    cache = tmp_path / "encoders"
    in_use = load_encoder(rig.settings, served, cache)
    for digest in (retired, named):
        load_encoder(rig.settings, digest, cache)
    (cache / "not of ours").mkdir()
    rig.do("UPDATE encoders SET state = 'retired' WHERE digest = ANY(%s)", [retired, served])

    load_encoder(rig.settings, new, cache)

    assert {path.name for path in cache.iterdir()} == {"not of ours", served, named, new}
    assert in_use.digest == served
    assert load_encoder(rig.settings, retired, cache).digest == retired, "Postgres has it still"


def test_an_embedder_fits_the_first_encoder_and_another_when_the_corpus_outgrows_it(
    rig: TextRig, wait_until: WaitUntil
) -> None:
    assert ensure_encoder(rig.settings) is None, "without a text there is nothing to fit"
    rig.start("--scan-every", "0.5")
    rig.publish(range(60))
    wait_until(lambda: rig.rows("SELECT FROM encoders") and rig.whole(), timeout=60, what="a first encoder is ready")
    [(first, fitted_on)] = rig.rows("SELECT digest, fitted_on FROM encoders")
    assert fitted_on == 60

    with rig.connection() as connection:
        assert need_of_fit(rig.settings, connection).reason is None
        rig.publish(range(60, 240))
        assert "grew from 60 to 240" in str(need_of_fit(rig.settings, connection).reason)
    second = ensure_encoder(rig.settings)

    assert second not in {None, first}
    assert rig.whole()
    assert fit(rig.settings, if_needed=True) is None


def test_a_few_texts_get_an_encoder_once_no_more_come(rig: TextRig, wait_until: WaitUntil) -> None:
    rig.start()
    rig.publish(range(3))

    wait_until(lambda: rig.rows("SELECT FROM encoders") and rig.whole(), timeout=60, what="three texts are embedded")


def test_texts_of_another_kind_ask_for_a_fit(rig: TextRig) -> None:
    rig.publish(range(600))
    digest = ensure_encoder(rig.settings)
    with rig.connection() as connection:
        rig.publish(range(600, 1_200))
        assert need_of_fit(rig.settings, connection).reason is None, "more of the same"
        for number in range(550):
            foreign = " ".join(f"{word}isch" for word in words_of(number).split())
            rig.do(
                "UPDATE items SET title = '', text = %s, changed_at = now() WHERE item_id = %s", foreign, f"i{number}"
            )
        need = need_of_fit(rig.settings, connection)

    assert need.drift is not None
    assert "is explained" in str(need.reason)
    assert digest


def test_vectors_are_exported_up_to_a_moment(rig: TextRig, tmp_path: Path) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415

    digest = rig.put(small_encoder(60))
    rig.publish(range(30))
    drain(rig)
    with rig.connection() as connection:
        until = embedded_before(connection)
        rig.publish([99])
        drain(rig)
        assert export_vectors(connection, digest, until, tmp_path / "vectors.parquet") == 30
    table = pq.read_table(tmp_path / "vectors.parquet")
    encoder = load_encoder(rig.settings, digest, rig.settings.cache_dir)
    vectors = unpacked_vectors(table["vector"].to_pylist(), encoder.dimension)
    [(title, text)] = rig.rows("SELECT title, text FROM items WHERE item_id = %s", table["item_id"][0].as_py())
    document = Document(title, "Some Body", ("Drama",), text)
    np.testing.assert_array_equal(vectors[0], encoder.encode_documents([document])[0].astype(np.float16))
    terms = unpacked_terms(table["terms"].to_pylist())
    np.testing.assert_array_equal(terms.of(0).index, encoder.embed([document]).terms.index)


def test_the_hash_reads_what_documents_read(rig: TextRig) -> None:
    from features.embedding.batches import ATTRIBUTES  # noqa: PLC0415

    [(source,)] = rig.rows("SELECT prosrc FROM pg_proc WHERE proname = 'text_hash'")
    said = source.split("'{")[1].split("}'")[0].split(",")
    assert said == ATTRIBUTES, "what makes a document has changed: change text_hash in a migration"
    assert all(f"attributes -> '{name}'" in source for name in ATTRIBUTES)


def test_landing_never_waits_for_an_embedder(rig: TextRig) -> None:
    rig.put(small_encoder(60))
    rig.publish(range(100))

    def publish_meanwhile(connection: Connection) -> None:
        connection.execute("SET lock_timeout = '1s'")
        with connection.transaction():
            connection.execute("LOCK TABLE items, users IN SHARE ROW EXCLUSIVE MODE")
            connection.execute("UPDATE items SET title = title || ' again'")
            connection.execute("DELETE FROM items WHERE item_id = 'i5'")

    with rig.connection() as embedder, rig.connection() as landing:
        prepare(embedder)
        encoders = {one.digest: small_encoder(60) for one in known_encoders(embedder)}
        with embedder.transaction():
            embed_batch(embedder, encoders, 50)
            publish_meanwhile(landing)
        drain(rig)
    assert rig.whole()


def test_the_commands_create_list_get_and_count(rig: TextRig, kafka_bootstrap: str) -> None:
    from tests.support.landing import Rig, recreate_topics  # noqa: PLC0415

    settings = rig.settings.model_copy(update={"kafka_bootstrap_servers": kafka_bootstrap})
    recreate_topics(settings, 1)
    commands = Rig(settings)
    asked = ("--title", "The Go-Between", "--author", "Hartley", "--category", "Novel", "--text", "A foreign country.")
    assert commands.command("items", "create", "q1", *asked).stdout.strip() == "q1"
    commands.land_all()
    rig.put(small_encoder(60))
    drain(rig)

    assert '"author": "Hartley"' in rig.command("items", "get", "q1")
    assert "Go-Between" in rig.command("items", "list", "--category", "Novel")
    assert rig.command("items", "list", "--before", "q1", "--json").strip() == "[]"
    assert '"embedded": 1' in rig.command("items", "stats", "--json")
    assert "svd" in rig.command("encoders", "list")
    refused = commands.command("items", "get", "q2", check=False)
    assert (refused.returncode, "'q2'" in refused.stderr) == (2, True)
    unreachable = commands.command("items", "search", "thief", check=False)
    assert unreachable.returncode == 2
