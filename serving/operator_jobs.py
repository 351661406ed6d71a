"""The jobs of operators: what the commands of the same names do, their answers as plain data."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec

from features import audit
from features.admin import dead_letters
from features.admin.dead_letters import Filter, FullLetter, StillRefused
from features.admin.erasure import erase, erased_target
from features.admin.reconcile import reconcile
from features.admin.trend import trends
from features.audit import Deed
from features.contracts.mappings import load_mappings
from features.db.connection import Connection
from features.kafka import EventProducer, landed_topics
from features.kafka_admin import Admin
from features.settings import Settings
from serving.auditing import note
from serving.record_forms import plain_audit, plain_outcome, plain_record
from serving.replaying import OpenModel, recorded, replay


def list_letters(connection: Connection, chosen: Filter, *, only_open: bool, limit: int) -> dict[str, Any]:
    """Return dead letters, newest first, and how many there are in each state."""
    letters = dead_letters.find(connection, chosen, only_open=only_open, at_most=limit)
    counts = dead_letters.count_states(connection, chosen)
    return {"dead_letters": [msgspec.to_builtins(letter) for letter in letters], "counts": counts}


def show_letter(connection: Connection, dead_letter_id: int) -> dict[str, Any]:
    """Return one dead letter with its bytes."""
    return plain_letter(dead_letters.get(connection, dead_letter_id))


def fix_letter(
    settings: Settings,
    connection: Connection,
    dead_letter_id: int,
    raw: bytes | None,
    changes: dict[str, Any] | None,
    *,
    deed: Callable[..., Deed],
) -> dict[str, Any]:
    """Return a dead letter after it was mended."""
    letter = dead_letters.fix(connection, dead_letter_id, raw, changes, load_mappings(settings.mappings))
    note(connection, deed("fix", f"dead letter {dead_letter_id}"))
    return plain_letter(letter)


def replay_letters(
    settings: Settings,
    connection: Connection,
    ids: Sequence[int] | None,
    chosen: Filter,
    *,
    deed: Callable[..., Deed],
    force: bool,
    dry_run: bool,
) -> dict[str, Any]:
    """Return how many dead letters were (or would be) sent again, and which landing would still refuse."""
    mappings, refused = load_mappings(settings.mappings), list[StillRefused]()
    if dry_run:
        waiting = dead_letters.count_open(connection, ids, chosen)
        still = 0 if force else dead_letters.would_refuse(connection, ids, chosen, refused.append, mappings)
        return {"replayed": waiting - still, "still_refused": list(map(asdict, refused)), "dry_run": True}
    producer = EventProducer(settings)
    try:
        sent = dead_letters.replay(
            connection, producer, ids, chosen, on_refused=refused.append, force=force, mappings=mappings
        )
    finally:
        producer.close()
    note(connection, deed("replay", dead_letters.AUDITED, force=force, **dead_letters.told(ids, chosen, sent)))
    return {"replayed": sent, "still_refused": list(map(asdict, refused)), "dry_run": False}


def discard_letters(
    connection: Connection, ids: Sequence[int] | None, chosen: Filter, *, deed: Callable[..., Deed], dry_run: bool
) -> dict[str, Any]:
    """Return how many dead letters were (or would be) put aside."""
    count = (dead_letters.count_open if dry_run else dead_letters.discard)(connection, ids, chosen)
    if not dry_run:
        note(connection, deed("discard", dead_letters.AUDITED, **dead_letters.told(ids, chosen, count)))
    return {"discarded": count, "dry_run": dry_run}


def account(settings: Settings, connection: Connection, trend_hours: int) -> dict[str, Any]:
    """Return the account of every partition, and whether all of them hold."""
    with Admin(settings) as admin:
        balances = reconcile(connection, admin, landed_topics(settings))
    shown = trends(connection, trend_hours, datetime.now(UTC)) if trend_hours else None
    return {
        "holds": all(balance.holds for balance in balances),
        "partitions": [balance.to_json() for balance in balances],
        "trend": msgspec.to_builtins(shown),
    }


def erase_user(
    settings: Settings, connection: Connection, user_id: str, deed: Callable[..., Deed], *, dry_run: bool
) -> dict[str, Any]:
    """Return the receipt of erasing a user; the audit does not hold the id."""
    receipt = erase(settings, connection, user_id, datetime.now(UTC), dry_run=dry_run)
    if not dry_run:
        target = erased_target(settings, user_id)
        note(connection, deed("erase", target, rows=receipt.rows, dead_letters=receipt.dead_letters))
    return {"user_id": user_id, **msgspec.to_builtins(receipt)}


def show_record(connection: Connection, recommendation_id: str, share: float) -> dict[str, Any]:
    """Return a list as it was served."""
    return plain_record(recorded(connection, recommendation_id, share))


def replay_record(
    connection: Connection,
    recommendation_id: str,
    share: float,
    open_model: OpenModel,
    deed: Callable[..., Deed],
) -> dict[str, Any]:
    """Return what computing a served list again comes to."""
    outcome = replay(connection, recorded(connection, recommendation_id, share), open_model)
    note(connection, deed("replay", recommendation_id, same=outcome.same))
    return plain_outcome(outcome)


def list_audit(connection: Connection, limit: int) -> dict[str, Any]:
    """Return the latest entries of the audit, newest first."""
    return plain_audit(audit.latest(connection, limit))


def plain_letter(letter: FullLetter) -> dict[str, Any]:
    """Return a dead letter with its bytes as text, escaped where they are no UTF-8, and exactly in base64."""
    fields: dict[str, Any] = msgspec.to_builtins(letter)
    for name, value in (("key", letter.key), ("raw", letter.raw), ("fixed_raw", letter.fixed_raw)):
        fields[name] = None if value is None else value.decode(errors="backslashreplace")
    return fields | {"raw_base64": b64encode(letter.raw).decode()}
