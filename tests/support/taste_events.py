"""Made-up events in which users have tastes: enough structure that a trained model beats popularity clearly."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

USERS, PER_USER, GROUPS, ITEMS = 250, 30, 5, 100
NEW_ITEMS = 10
"""Items of the catalogue that no event touches."""
KINDS = ("gardening with roses", "sailing the south sea", "baking bread", "repairing clocks", "climbing mountains")
EVENTS = USERS * PER_USER


def taste_events() -> pd.DataFrame:
    """Return views of the last 60 days: users view items of their own group, one of five, nine times of ten."""
    rng = np.random.default_rng(7)
    user = np.repeat(np.arange(USERS), PER_USER)
    own = rng.integers(ITEMS // GROUPS, size=EVENTS) * GROUPS + user % GROUPS
    item = np.where(rng.random(EVENTS) < 0.9, own, rng.integers(ITEMS, size=EVENTS))
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    seconds = rng.integers(60 * 86_400, size=EVENTS)
    return pd.DataFrame(
        {
            "user_id": [f"u{number}" for number in user],
            "item_id": [f"i{number}" for number in item],
            "action": "view",
            "occurred_at": pd.to_datetime([newest - timedelta(seconds=int(s)) for s in seconds], utc=True),
        }
    )


def taste_items() -> pd.DataFrame:
    """Return the catalogue: titles that tell an item's group; the last `NEW_ITEMS` are in nobody's history."""
    numbers = range(ITEMS + NEW_ITEMS)
    return pd.DataFrame(
        {
            "item_id": [f"i{number}" for number in numbers],
            "title": [f"{KINDS[number % GROUPS]}, number {number}" for number in numbers],
            "occurred_at": pd.Timestamp("2026-01-01", tz="UTC"),
        }
    )
