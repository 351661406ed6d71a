"""Announces lists that were made anew: one message for each list of a folder that batch scoring finished."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.contracts.batch import LISTS, SUCCESS, BatchDone, part_name
from features.contracts.columns import RANK, USER
from features.contracts.errors import ContractError, UnavailableError
from features.kafka import REFRESHED, EventProducer
from features.kafka_bulk import Message
from features.settings import Settings

_AT_ONCE: Final = 5_000
"""Messages that are under way at a time: a megabyte or so."""
_TIMEOUT_S: Final = 30.0


def announce_lists(settings: Settings, folder: Path, tell: Callable[[str], None]) -> int:
    """Return how many lists were announced on `recommendation-service.recommendations-refreshed`.

    Each message has `user_id`, `recommendation_ids` (the id of that user's list), `model_id` and `timestamp`, the time
    at which the folder was finished; its key is the user.

    Raises
    ------
    ContractError
        If the folder holds no finished lists.
    UnavailableError
        If Kafka does not take them; those before may have arrived. Announcing again says the same again.
    """
    done = _finished(folder)
    producer, announced = EventProducer(settings), 0
    try:
        producer.connect([REFRESHED])
        for number in range(done.parts):
            messages = list(_messages(folder / LISTS / part_name(number), done))
            for start in range(0, len(messages), _AT_ONCE):
                _send(producer, messages[start : start + _AT_ONCE])
            announced += len(messages)
            tell(f"{announced:,} of {done.lists:,} lists announced")
    finally:
        producer.close()
    return announced


def _finished(folder: Path) -> BatchDone:
    file = folder / SUCCESS
    try:
        return msgspec.json.decode(file.read_bytes(), type=BatchDone)
    except FileNotFoundError:
        raise ContractError(
            f"{file} is missing: {folder} holds no finished lists. `python -m training recommend --out {folder}` "
            "makes them, or goes on where it was stopped."
        ) from None
    except msgspec.DecodeError as error:
        raise ContractError(f"{file}: {error}; expected what `python -m training recommend` writes last") from error


def _messages(part: Path, done: BatchDone) -> Iterator[Message]:
    table = pq.read_table(part, columns=[USER, RANK, "recommendation_id"])
    first = table.filter(pc.equal(table[RANK], 1))
    for user_id, recommendation_id in zip(first[USER].to_pylist(), first["recommendation_id"].to_pylist(), strict=True):
        said = {
            "user_id": user_id,
            "recommendation_ids": [recommendation_id],
            "model_id": done.run.model_id,
            "timestamp": done.finished_at,
        }
        yield Message(REFRESHED, user_id.encode(), msgspec.json.encode(said))


def _send(producer: EventProducer, messages: Sequence[Message]) -> None:
    """Return once all replicas have all of them."""
    if not messages:
        return
    sent: Future[None] = Future()
    waiting, lock = len(messages), Lock()

    def heard(places: Sequence[int], failure: BaseException | None) -> None:
        nonlocal waiting
        with lock:
            waiting -= len(places)
            if sent.done():
                return
            if failure is not None:
                sent.set_exception(UnavailableError(f"Kafka did not take lists on {REFRESHED!r}: {failure!r}"))
            elif not waiting:
                sent.set_result(None)

    producer.send_many(messages, heard)
    try:
        sent.result(_TIMEOUT_S)
    except TimeoutError as error:
        raise UnavailableError(f"Kafka did not acknowledge lists on {REFRESHED!r} within {_TIMEOUT_S:.0f} s") from error
