"""Speed of the embedder: a back-fill of 50,000 texts, and how long a text just published waits for its vector."""

import random
import statistics
import time
from typing import Final

import numpy as np
import psutil

from benchmarks.record import record
from benchmarks.services import features, services, start_features
from features.db.connection import Connection, connect
from features.embedding.encoders import put_encoder
from features.settings import Settings
from features.text.documents import document_of
from features.text.svd import fit_svd

TEXTS: Final = 50_000
FITTED_ON: Final = 10_000
PUBLISHED: Final = 200
"""Texts published one after another, a moment apart, when nothing else waits, and again during a back-fill."""
WORDS: Final = 20_000
"""Words of the made-up language, as frequent as Zipf has it."""
SEED: Final = 11
KILLS: Final = 20
BUSY: Final = "busy"

_PUT: Final = """
INSERT INTO items (item_id, event_id, title, text, categories, attributes, hidden, occurred_at, changed_at)
SELECT item_id, 'e' || item_id, title, text, ARRAY['Drama'], '{"author": "Some Body"}', false, clock_timestamp(),
    clock_timestamp()
FROM unnest(%s::text[], %s::text[], %s::text[]) AS said (item_id, title, text)
ON CONFLICT (item_id) DO UPDATE SET text = excluded.text, changed_at = excluded.changed_at
"""
_LOG: Final = """
CREATE TABLE written (item_id text, text_hash uuid);
CREATE FUNCTION log_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO written VALUES (NEW.item_id, NEW.text_hash); RETURN NULL; END $$;
CREATE TRIGGER log_written AFTER INSERT OR UPDATE ON item_vectors FOR EACH ROW EXECUTE FUNCTION log_written();
"""
_OFTEN: Final = """
SELECT count(*), max(times) FROM (SELECT count(*) AS times FROM written GROUP BY item_id, text_hash) AS often
"""


def run() -> None:
    """Measure texts per second of `python -m features embed --once`, its start left out, and single texts' lag."""
    with services() as settings, connect(settings, name="bench", autocommit=True) as connection:
        titles, texts = _language(TEXTS)
        documents = [document_of(*said, ["Drama"], {}) for said in zip(titles, texts, strict=True)]
        put_encoder(connection, fit_svd(documents[:FITTED_ON]))
        features(settings, "embed", "--once")
        start_s = statistics.median(_embed_once(settings)[0] for _ in range(3))
        print(f"embedding: {TEXTS:,} texts", flush=True)
        _publish(connection, range(TEXTS), titles, texts)
        took_s, cpu_s = _embed_once(settings)
        idle = _lag(settings, connection, "idle")
        _publish(connection, range(TEXTS), titles, texts[1:] + texts[:1])
        busy = _lag(settings, connection, BUSY)
        killed = _killed(settings, connection, titles, texts)
    figures = {
        "texts": TEXTS,
        "characters_of_a_text": round(statistics.mean(map(len, texts))),
        "back_fill_texts_per_s": round(TEXTS / (took_s - start_s)),
        "back_fill_texts_per_cpu_second_of_the_embedder": round(TEXTS / cpu_s),
        "lag_when_idle": idle,
        "lag_during_a_back_fill": busy,
        "back_fill_under_kills": killed,
    }
    print(figures, flush=True)
    record("embedding", figures)


def _language(count: int) -> tuple[list[str], list[str]]:
    """Return titles and texts of some 300 characters."""
    chance = random.Random(SEED)  # noqa: S311  # the same texts each time
    letters = "eeeeaaaiioonnsstrrlldcmupbgvhfqyxjkwz"
    words = ["".join(chance.choices(letters, k=chance.randint(3, 9))) for _ in range(WORDS)]
    weights = np.cumsum(1.0 / np.arange(1, WORDS + 1)).tolist()
    titles = [" ".join(chance.choices(words, cum_weights=weights, k=4)) for _ in range(count)]
    return titles, [" ".join(chance.choices(words, cum_weights=weights, k=44)) for _ in range(count)]


def _publish(connection: Connection, numbers: range, titles: list[str], texts: list[str]) -> None:
    for start in range(0, len(numbers), 10_000):
        some = numbers[start : start + 10_000]
        ids = [f"i{number}" for number in some]
        connection.execute(_PUT, (ids, [titles[number] for number in some], [texts[number] for number in some]))


def _embed_once(settings: Settings) -> tuple[float, float]:
    """Return how many seconds an embedder took, its start included, and of them on a core."""
    started, cpu_s = time.perf_counter(), 0.0
    process = start_features(settings, ["embed", "--once"])
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            cpu_s = sum(watched.cpu_times()[:2])
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    if process.wait() != 0:
        raise RuntimeError(f"the embedder ended with exit code {process.returncode}")
    return time.perf_counter() - started, cpu_s


def _lag(settings: Settings, connection: Connection, name: str) -> dict[str, float]:
    """Return percentiles of the seconds from the commit of an item's row to that of its vector."""
    print(f"embedding: lag of single texts, {name}", flush=True)
    process, waits_s = start_features(settings, ["embed"]), list[float]()
    try:
        _vector(connection, f"warm-{name}")
        for number in range(PUBLISHED):
            waits_s.append(_vector(connection, f"{name}-{number}"))
            if name == BUSY and not _waiting(connection):
                break
            time.sleep(0.02)
    finally:
        process.terminate()
        process.wait()
    p50, p95 = np.percentile(waits_s, [50, 95])
    return {
        "texts": len(waits_s),
        "p50_s": round(float(p50), 3),
        "p95_s": round(float(p95), 3),
        "max_s": round(max(waits_s), 3),
    }


def _killed(settings: Settings, connection: Connection, titles: list[str], texts: list[str]) -> dict[str, float]:
    """Return what a back-fill comes to whose embedder is killed again and again: how often each text was embedded."""
    print(f"embedding: {TEXTS:,} texts, {KILLS} kills", flush=True)
    connection.execute(_LOG)
    _publish(connection, range(TEXTS), titles, texts[2:] + texts[:2])
    started, killed_at, chance = time.perf_counter(), list[int](), random.Random(SEED)  # noqa: S311
    for _ in range(KILLS):
        process = start_features(settings, ["embed", "--batch", "100"])
        before = waiting = _waiting(connection)
        while waiting == before and waiting:
            time.sleep(0.01)
            waiting = _waiting(connection)
        time.sleep(chance.uniform(0, 0.5))
        process.kill()
        process.wait()
        killed_at.append(_waiting(connection))
    _embed_once(settings)
    took_s = time.perf_counter() - started
    [(embedded, most)] = connection.execute(_OFTEN).fetchall()
    return {
        "kills": KILLS,
        "kills_while_texts_waited": sum(map(bool, killed_at)),
        "texts_embedded": embedded,
        "most_often": most,
        "took_s": round(took_s, 1),
    }


def _waiting(connection: Connection) -> int:
    """Return how many texts wait."""
    [(waiting,)] = connection.execute("SELECT count(*) FROM embedding_queue").fetchall()
    return int(waiting)


def _vector(connection: Connection, item_id: str) -> float:
    """Return how long a new item waited for its vector."""
    connection.execute(_PUT, ([item_id], ["a title"], ["words of " + item_id]))
    committed = time.perf_counter()
    while connection.execute("SELECT FROM item_vectors WHERE item_id = %s", [item_id]).fetchone() is None:
        time.sleep(0.005)
    return time.perf_counter() - committed
