"""The API as a client sees it."""

import time
from collections.abc import Callable
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from features.contracts.errors import MarqueeError

PAUSE_S = 0.01

Value = TypeVar("Value")


class ApiError(MarqueeError):
    """The API refused a request, or did not do in time what was waited for."""


def wait_for(condition: Callable[[], Value | None], what: str, within_s: float = 60.0) -> Value:
    """Return the condition's first true value.

    Raises
    ------
    ApiError
        When there is none in time.
    """
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise ApiError(f"{within_s:.0f} s have passed without {what}; see `make logs` and `make status`")
        time.sleep(PAUSE_S)
    return value


class Api:
    """A client of the recommendation API.

    Parameters
    ----------
    url
        Where it listens.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=10.0)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._client.close()

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        """Return the body; ApiError for any other status than success."""
        if not response.is_success:
            raise ApiError(f"{response.request.url} answered {response.status_code}: {response.text[:500]}")
        answer: dict[str, Any] = response.json()
        return answer

    def wait_for_version(self, version: str, within_s: float) -> None:
        """Return once ``/model/info`` shows that `version` is served; ApiError when it does not in time."""

        def served() -> bool:
            return str(self._json(self._client.get("/model/info")).get("version")) == version

        wait_for(served, f"version {version} being served", within_s)

    def recommend(self, user: str, k: int, **wishes: str) -> dict[str, Any]:
        """Return the answer for `user`, with reasons; `wishes` are further parameters of the request."""
        return self._json(
            self._client.get(f"/api/v1/recommend/{user}", params={"k": str(k), "explain": "true", **wishes})
        )

    def send(self, events: list[dict[str, Any]]) -> None:
        """Send `events`; returns when Kafka has them."""
        self._json(self._client.post("/api/v1/events", json=events))

    def personal(self, user: str, k: int) -> dict[str, Any] | None:
        """Return the answer for a user once it is made of what is known of that user, None before."""
        answer = self.recommend(user, k)
        return answer if answer["fallback_reason"] is None else None

    def publish(self, items: list[dict[str, Any]]) -> None:
        """Publish items; returns when Kafka has them."""
        self._json(self._client.post("/api/v1/items", json={"items": items}))

    def search(self, query: str, k: int) -> dict[str, Any]:
        """Return what a search in all texts finds."""
        return self._json(self._client.post("/api/v1/items/search", json={"query": query, "k": k}))

    def similar(self, item: str, k: int) -> dict[str, Any]:
        """Return items like one, by behaviour and by text."""
        return self._json(self._client.get(f"/api/v1/items/{quote(item, safe='')}/similar", params={"k": k}))
