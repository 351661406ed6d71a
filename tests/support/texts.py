"""A rig for embedders: items in a fresh database, embedders in processes of their own, a log of vectors written."""

import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, LiteralString, Self

import psycopg
from pydantic import SecretStr

from features.db.connection import Connection, connect
from features.embedding.encoders import put_encoder
from features.embedding.run import Embedder, EmbedOptions
from features.failpoints import VARIABLE
from features.settings import Settings
from features.text.documents import document_of
from features.text.encoder import Encoder
from features.text.svd import fit_svd
from tests.support.commands import run_command
from tests.support.landing import ROOT
from tests.support.processes import uncounted

Process = subprocess.Popen[bytes]

WORDS: Final = (
    *("war", "love", "island", "detective", "winter", "ship", "city", "garden", "murder", "king", "daughter", "river"),
    *("school", "music", "night", "ghost", "planet", "robot", "dragon", "sword", "letter", "train", "hotel", "desert"),
    *("ocean", "doctor", "trial", "thief", "painter", "soldier", "village", "storm", "memory"),
)
_LOG: Final = """
CREATE TABLE written (encoder text, item_id text, text_hash uuid);
CREATE FUNCTION log_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO written VALUES (NEW.encoder, NEW.item_id, NEW.text_hash); RETURN NULL; END $$;
CREATE TRIGGER log_written AFTER INSERT OR UPDATE ON item_vectors FOR EACH ROW EXECUTE FUNCTION log_written();
"""
_PUT: Final = """
INSERT INTO items (item_id, event_id, title, text, categories, attributes, hidden, occurred_at, changed_at)
SELECT item_id, 'e' || item_id, title, text, ARRAY['Drama'], '{"author": "Some Body"}', false, clock_timestamp(),
    clock_timestamp()
FROM unnest(%s::text[], %s::text[], %s::text[]) AS said (item_id, title, text)
ON CONFLICT (item_id) DO UPDATE
SET title = excluded.title, text = excluded.text, changed_at = excluded.changed_at, occurred_at = excluded.occurred_at
"""
LACKING: Final = """
SELECT count(*) FROM items CROSS JOIN encoders
LEFT JOIN item_vectors ON item_vectors.encoder = encoders.digest AND item_vectors.item_id = items.item_id
WHERE encoders.state <> 'retired' AND item_vectors.text_hash IS DISTINCT FROM items.text_hash
"""


def words_of(number: int, count: int = 30) -> str:
    """Return words that follow from a number."""
    return " ".join(random.Random(number).choices(WORDS, k=count))  # noqa: S311  # the same words each time


def small_encoder(texts: int, seed: int = 0) -> Encoder:
    """Return an encoder fitted on some texts of `words_of`."""
    numbers = range(seed * 1_000_000, seed * 1_000_000 + texts)
    return fit_svd([document_of(words_of(n, 3), words_of(n), ["Drama"], {}) for n in numbers], dimension=16)


def run_embedder(url: str, cache: Path, batch: int) -> None:
    """Be an embedder: what `TextRig.fork` runs."""
    settings = Settings(database_url=SecretStr(url), cache_dir=cache)
    Embedder(settings, EmbedOptions(batch=batch, fits=False), threading.Event()).run()


@dataclass
class TextRig:
    """Settings of a fresh database, and what tests of embedders do with it."""

    settings: Settings
    started: list[Process] = field(default_factory=list)
    forked: list[BaseProcess] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Log every vector that is written from now on."""
        self.do(_LOG)
        return self

    def __exit__(self, *_: object) -> None:
        """End every process."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        for forked in self.forked:
            forked.kill()
            forked.join()

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of the project's commands: without coverage, of which nothing killed could tell."""
        return uncounted() | {
            "MARQUEE_DATABASE_URL": self.settings.database_url.get_secret_value(),
            "MARQUEE_CACHE_DIR": str(self.settings.cache_dir),
            "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
        }

    def start(self, *options: str, failpoints: str = "") -> Process:
        """Return a running embedder; it is ended with the test."""
        command = [sys.executable, "-m", "features", "embed", *options]
        environment = self.environment | {VARIABLE: failpoints}
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL)
        self.started.append(process)
        return process

    def fork(self, batch: int) -> BaseProcess:
        """Return a running embedder that was ready at once, as all it imports was imported before."""
        forks = get_context("forkserver")
        forks.set_forkserver_preload(["features.embedding.run"])
        url = self.settings.database_url.get_secret_value()
        process = forks.Process(target=run_embedder, args=(url, self.settings.cache_dir, batch))
        process.start()
        self.forked.append(process)
        return process

    def command(self, *arguments: str) -> str:
        """Return what a finished `python -m features ...` said."""
        done = run_command("features", *arguments, environment=self.environment, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield a connection in autocommit."""
        with connect(self.settings, name="test", autocommit=True) as connection:
            yield connection

    def put(self, encoder: Encoder) -> str:
        """Return the digest of an encoder that is to be built."""
        with self.connection() as connection:
            return put_encoder(connection, encoder)

    def publish(self, numbers: Sequence[int], prefix: str = "i", said: str | None = None) -> None:
        """Write items whose texts follow from numbers, or all say the same."""
        texts = [words_of(n) if said is None else said for n in numbers]
        titles = [words_of(n, 3) if said is None else "" for n in numbers]
        self.do(_PUT, [f"{prefix}{n}" for n in numbers], titles, texts)

    def do(self, query: LiteralString, *parameters: object) -> None:
        """Run a statement of the test's own."""
        with psycopg.connect(self.settings.database_url.get_secret_value()) as connection:
            connection.execute(query, parameters or None)

    def rows(self, query: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """Return what a query of the test's own finds."""
        with psycopg.connect(self.settings.database_url.get_secret_value()) as connection:
            return connection.execute(query, parameters or None).fetchall()

    def whole(self) -> bool:
        """Return whether every item has a vector of its text by every encoder in use, and none waits."""
        try:
            [(lacking,)] = self.rows(LACKING)
            [(waiting,)] = self.rows("SELECT count(*) FROM embedding_queue")
            [(building,)] = self.rows("SELECT count(*) FROM encoders WHERE state = 'building'")
        except psycopg.OperationalError:
            return False  # Postgres is coming back
        return not (lacking or waiting or building)

    def written_more_than_once(self) -> list[tuple[Any, ...]]:
        """Return what was written more often than once: an item's text by an encoder."""
        return self.rows(
            "SELECT encoder, item_id, count(*) FROM written GROUP BY encoder, item_id, text_hash HAVING count(*) > 1"
        )


@contextmanager
def text_rig(database_url: str, cache: Path) -> Iterator[TextRig]:
    """Yield a rig over a fresh database."""
    with TextRig(Settings(database_url=SecretStr(database_url), cache_dir=cache)) as rig:
        yield rig
