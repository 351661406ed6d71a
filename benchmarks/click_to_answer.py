"""How long from a posted event to an answer that knows it: by Kafka, landing and Postgres, while others are served."""

import time
from typing import Any, Final

import httpx
import numpy as np

from ops.local.ports import LOOPBACK
from tests.support.serving import TOKEN

POLL_S: Final = 0.01
PATIENCE_S: Final = 20.0
APART_S: Final = 0.1


def click_to_answer(port: int, probes: int, item_id: str) -> dict[str, Any]:
    """Return how long probes took, milliseconds from the 202, and how many were not seen at all.

    Each is a user of its own who likes an item and then asks for lists until one was made from that event.
    """
    took_ms, lost, refused = list[float](), 0, 0
    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=5) as client:
        for number in range(probes):
            posted = client.post(
                "/api/v1/events", json={"user_id": f"probe-{number}", "item_id": item_id, "action": "like"}
            )
            if posted.status_code != httpx.codes.ACCEPTED:
                refused += 1
                continue
            accepted_s = time.perf_counter()
            event_id = posted.json()["results"][0]["event_id"]
            if _seen(client, f"/api/v1/recommend/probe-{number}", event_id):
                took_ms.append((time.perf_counter() - accepted_s) * 1000)
            else:
                lost += 1
            time.sleep(APART_S)
    p50, p99 = np.percentile(took_ms, [50, 99]).round(1).tolist() if took_ms else (None, None)
    return {"probes": probes, "p50_ms": p50, "p99_ms": p99, "refused": refused, "not_seen": lost}


def _seen(client: httpx.Client, path: str, event_id: str) -> bool:
    """Return whether an answer came in time that was made from an event."""
    deadline = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < deadline:
        # Which events a list was made from is told to the admin alone.
        answer = client.get(path, params={"explain": True}, headers={"Authorization": f"Bearer {TOKEN}"})
        if answer.status_code == httpx.codes.OK and event_id in answer.json()["explanation"]["history_event_ids"]:
            return True
        time.sleep(POLL_S)
    return False
