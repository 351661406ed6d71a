"""The API as a client sees it."""

import time
from typing import Any, Self

import httpx

from features.contracts.errors import MarqueeError

PAUSE_S = 0.2


class ApiError(MarqueeError):
    """The API refused a request, or did not do in time what was waited for."""


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

    def wait_for_version(self, version: str, within_s: float) -> dict[str, Any]:
        """Return ``/model/info`` once it shows that `version` is served.

        Raises
        ------
        ApiError
            When it does not in time.
        """
        deadline = time.monotonic() + within_s
        while True:
            info = self._json(self._client.get("/model/info"))
            if str(info.get("version")) == version:
                return info
            if time.monotonic() > deadline:
                raise ApiError(f"after {within_s:.0f} s the API serves {info} instead of version {version}")
            time.sleep(PAUSE_S)

    def recommend(self, user: str, k: int) -> dict[str, Any]:
        """Return the answer for `user`, with reasons."""
        return self._json(self._client.get(f"/api/v1/recommend/{user}", params={"k": k, "explain": "true"}))

    def send(self, events: list[dict[str, Any]]) -> None:
        """Send `events`; returns when Kafka has them."""
        self._json(self._client.post("/api/v1/events", json=events))
