"""Step `snapshot`: the data of the run, as files; a run with too few events ends here as skipped."""

from datetime import UTC, datetime, timedelta

from features.build.snapshot import write_snapshot
from training.steps.folders import fresh_folder
from training.steps.inputs import INTERACTIONS, ITEMS, SNAPSHOT
from training.steps.runner import StepContext, StepResult
from training.steps.state import DONE, SKIPPED


def run(context: StepContext) -> StepResult:
    """Write interactions and items of the run's window from Postgres."""
    folder = fresh_folder(context.run.path / SNAPSHOT)
    info = write_snapshot(context.settings, folder, None, _since_us(context.options.window_days))
    first, last = _iso(info.first_occurred_us), _iso(info.last_occurred_us)
    results = {
        "interactions": info.interactions,
        "items": info.items,
        "first_at": first,
        "last_at": last,
        "events": info.events,
        "weights": info.weights.to_json(),
        "known_until": _iso(info.until_us),
        "sha256": info.sha256[INTERACTIONS.name],
        "items_sha256": info.sha256[ITEMS.name],
    }
    if info.interactions < context.options.min_events:
        needed = f"{info.interactions} interactions, {context.options.min_events} needed (option min_events)"
        return StepResult(f"too few events to train: {needed}", results, SKIPPED)
    return StepResult(f"{info.interactions} interactions from {first} to {last}, {info.items} items", results, DONE)


def _since_us(window_days: int | None) -> int | None:
    if window_days is None:
        return None
    return int((datetime.now(UTC) - timedelta(days=window_days)).timestamp() * 1_000_000)


def _iso(at_us: int | None) -> str | None:
    return None if at_us is None else datetime.fromtimestamp(at_us / 1e6, tz=UTC).isoformat(timespec="seconds")
