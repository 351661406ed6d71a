"""The data doctor finds what is planted, each by its own check, and passes what is sound."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from features.admin.doctor import Finding, diagnose
from features.admin.doctor_checks import CHECKS
from features.admin.doctor_config import DEFAULTS, load_config
from features.contracts.errors import ContractError
from features.contracts.weights_file import SaidWeights
from features.db.connection import connect
from features.settings import Settings
from tests.support.landing import Rig
from training.steps import gate

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
DAYS, A_DAY = 35, 720

Act = tuple[str, str, str, str, datetime, datetime, datetime, str]
"""Event id, user, item, action, when it occurred, was known and landed, context."""


@pytest.fixture
def rig(database_url: str) -> Rig:
    """Return a rig over a fresh database with a catalogue of twenty items; no broker is needed."""
    rig = Rig(Settings(database_url=SecretStr(database_url)))
    rig.rows(
        "INSERT INTO items (item_id, event_id, title, text, categories, attributes, hidden, occurred_at, changed_at) "
        "SELECT 'i' || n, n, 'title', '', '{}', '{}', false, now(), now() FROM generate_series(0, 19) AS n",
        fetch=False,
    )
    return rig


def act(number: int, at: datetime, *, user: str = "", item: str = "", action: str = "rating") -> Act:
    """Return history: known since it occurred; of 50 users and 20 items unless they are named."""
    who, what = user or f"u{number % 50}", item or f"i{number % 20}"
    return (f"e{number}", who, what, action, at, at, NOW + timedelta(minutes=1), "{}")


def live(number: int, delay: timedelta, context: str = "{}") -> Act:
    """Return an interaction that landed some time after it occurred."""
    landed = NOW - number * timedelta(seconds=7)
    plain = act(number, landed - delay)
    return (*plain[:5], landed, landed, context)


def sound(days: Iterable[int] = range(DAYS)) -> list[Act]:
    """Return 720 interactions a day, evenly spread over each day, counted back from now."""
    step = timedelta(days=1) / A_DAY
    return [act(day * A_DAY + n, NOW - timedelta(days=day) - n * step) for day in days for n in range(A_DAY)]


def put(rig: Rig, acts: Sequence[Act]) -> None:
    """Store interactions."""
    url = rig.settings.database_url.get_secret_value()
    statement = (
        "COPY interactions (event_id, user_id, item_id, action, occurred_at, known_at, landed_at, context, "
        "schema_version, topic, partition, kafka_offset) FROM STDIN"
    )
    with psycopg.connect(url) as connection, connection.cursor().copy(statement) as copy:
        for offset, each in enumerate(acts):
            copy.write_row((*each, 1, "interaction_events", 0, offset))


def diagnosed(rig: Rig, config: Path | None = None) -> dict[str, Finding]:
    """Return what each check came to."""
    with connect(rig.settings, name="test") as connection:
        found = diagnose(connection, load_config(config), SaidWeights(), NOW)
    return {finding.name: finding for finding in found.findings}


def failed(rig: Rig) -> dict[str, str]:
    """Return check -> outcome of those that are not ok."""
    return {name: finding.outcome for name, finding in diagnosed(rig).items() if finding.outcome != "ok"}


def test_sound_data_passes_every_check_and_so_does_none(rig: Rig) -> None:
    assert failed(rig) == {}
    put(rig, sound())
    assert failed(rig) == {}
    assert rig.command("doctor").returncode == 0


def test_unknown_items_are_named(rig: Rig) -> None:
    put(rig, [*sound(), *(act(100_000 + n, NOW - timedelta(minutes=n), item=f"x{n % 3}") for n in range(9_000))])
    found = diagnosed(rig)["unknown_items"]
    assert (found.outcome, found.count) == ("warn", 9_000)
    assert found.examples == ["item x0: 3000 interactions", "item x1: 3000 interactions", "item x2: 3000 interactions"]


def test_one_user_with_thousands_of_events_is_a_bot(rig: Rig) -> None:
    put(rig, [*sound(), *(act(100_000 + n, NOW - timedelta(seconds=9 * n), user="robot") for n in range(6_000))])
    found = diagnosed(rig)["bots"]
    assert found.outcome == "warn"
    assert found.examples == ["user robot: about 6000 interactions"]


@pytest.mark.parametrize(
    ("action", "check", "outcome"), [("view", "one_action", "warn"), ("hum", "unweighted_actions", "block")]
)
def test_actions_that_teach_little_are_found(rig: Rig, action: str, check: str, outcome: str) -> None:
    put(rig, [act(n, NOW - timedelta(hours=n), action=action) for n in range(200)])
    assert failed(rig)[check] == outcome


def test_actions_that_the_file_of_weights_names_have_a_weight(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(rig, [act(n, NOW - timedelta(hours=n), action="listen") for n in range(200)])
    refused = rig.command("doctor", check=False)
    assert refused.returncode == 1
    assert "MARQUEE_ACTION_WEIGHTS" in refused.stderr
    assert gate._doctor(rig.settings).blocked

    weights = tmp_path / "weights.yaml"
    weights.write_text("actions: {listen: {rule: constant, base: 2}}", encoding="utf-8")
    monkeypatch.setenv("MARQUEE_ACTION_WEIGHTS", str(weights))
    found = json.loads(rig.command("doctor", "--json").stdout)["findings"]
    outcomes = {finding["name"]: finding["outcome"] for finding in found}
    assert (outcomes["unweighted_actions"], outcomes["one_action"]) == ("ok", "warn")
    assert not gate._doctor(rig.settings.model_copy(update={"action_weights": weights})).blocked


def test_items_without_text_are_found(rig: Rig) -> None:
    rig.rows("UPDATE items SET title = '' WHERE item_id > 'i15' RETURNING 1")
    found = diagnosed(rig)["items_without_text"]
    assert (found.outcome, found.count, found.of, len(found.examples)) == ("warn", 12, 20, 10)


def test_the_same_content_under_other_ids_is_found(rig: Rig) -> None:
    again = [(f"again-{row[0]}", *row[1:]) for row in sound(range(3))]
    put(rig, [*sound(), *again])
    found = diagnosed(rig)["duplicates"]
    assert (found.outcome, found.count) == ("warn", 3 * A_DAY)
    assert found.examples[0].endswith("2 times")


def test_empty_days_and_hours_are_gaps(rig: Rig) -> None:
    recent = [row for row in sound([0, 1, 2]) if not NOW - timedelta(hours=9) < row[4] <= NOW - timedelta(hours=7)]
    put(rig, [*recent, *sound([day for day in range(3, DAYS) if day not in {10, 11}])])
    found = diagnosed(rig)["gaps"]
    assert (found.outcome, found.count) == ("warn", 4)
    assert sum(example.startswith("the day") for example in found.examples) == 2


def test_a_drop_in_volume_is_found(rig: Rig) -> None:
    put(rig, [*sound(range(1, DAYS)), *sound([0])[:50]])
    assert failed(rig)["volume_drop"] == "warn"


def test_a_time_zone_that_is_missing_is_found(rig: Rig) -> None:
    put(rig, [*sound(), *(live(100_000 + n, timedelta(hours=2, seconds=n % 20)) for n in range(500))])
    found = diagnosed(rig)["time_zones"]
    assert (found.outcome, found.count, found.of) == ("warn", 500, 500)
    assert found.examples[0].startswith("+2 h: 500 interactions")


def test_a_clock_that_runs_ahead_is_found_by_its_producer(rig: Rig) -> None:
    ahead = [live(100_000 + n, timedelta(minutes=-40), '{"producer": "tv"}') for n in range(60)]
    put(rig, [*sound(), *ahead, *(live(200_000 + n, timedelta(seconds=3)) for n in range(500))])
    found = diagnosed(rig)["skewed_producers"]
    assert (found.outcome, found.count) == ("warn", 60)
    assert found.examples == ["interaction_events, tv: 2400 s ahead in 60 interactions"]


def test_severity_and_threshold_are_configuration_and_a_failure_that_blocks_says_why(rig: Rig, tmp_path: Path) -> None:
    put(rig, [act(n, NOW - timedelta(hours=n), item="nowhere") for n in range(200)])
    config = tmp_path / "doctor.yaml"
    config.write_text("checks: {unknown_items: {severity: block}, one_action: {severity: ok}}", encoding="utf-8")

    done = rig.command("doctor", "--json", "--config", str(config), check=False)

    assert done.returncode == 1
    assert json.loads(done.stdout)["blocked"] is True
    assert "training is stopped by check unknown_items: 100.0% of interactions" in done.stderr
    assert "next: send the items" in done.stderr
    config.write_text("checks: {unknown_items: {severity: block, threshold: 1}}", encoding="utf-8")
    assert rig.command("doctor", "--config", str(config)).returncode == 0


@pytest.mark.parametrize("text", ["checks: {bot: {}}", "checks: {bots: {severity: loud}}", "checks: [", "more: 1"])
def test_a_configuration_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "doctor.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match=r"doctor\.yaml"):
        load_config(tmp_path / "doctor.yaml")


def test_every_check_has_defaults_and_more_rows_than_the_sample_are_sampled(rig: Rig, tmp_path: Path) -> None:
    assert [check.name for check in CHECKS] == list(DEFAULTS)
    put(rig, sound())
    rig.rows("ANALYZE interactions", fetch=False)
    (tmp_path / "doctor.yaml").write_text("sample_rows: 5000", encoding="utf-8")
    with connect(rig.settings, name="test") as connection:
        found = diagnose(connection, load_config(tmp_path / "doctor.yaml"), SaidWeights(), NOW)
    assert found.rows == DAYS * A_DAY
    assert 1_000 < found.sampled < 12_000
    assert not found.blocked
