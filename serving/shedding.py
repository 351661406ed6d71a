"""Refuses requests that would only wait: 503 at once with `Retry-After`, before anything is read or computed."""

from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.limits import Flight, FlightLimit
from serving.metrics import Metrics
from serving.middleware import request_id_of
from serving.problems import RETRY_AFTER_S, problem_response

LISTS: Final = "lists"
CATALOGUE: Final = "catalogue"
POSTED: Final = "posted"
VERSIONS: Final = "versions"
OPERATORS: Final = "operators"

_ITEMS: Final = "/api/v1/items"
_POSTED: Final = ("/api/v1/events", "/events", "/api/v1/feedback")
_USERS: Final = ("/api/v1/users",)
_MODELS: Final = ("/api/v1/models", "/api/v1/recs/models")
_TRAIN: Final = ("/api/v1/recs/train",)
_OPERATORS: Final = (
    *("/api/v1/admin", "/api/v1/features", "/api/v1/recommendations", "/model/reload"),
    *(*_USERS, *_MODELS, *_TRAIN),
)
LIST_PATHS: Final = ("/api/v1/recommend", "/api/v1/recs", "/recommend", _ITEMS, "/api/v1/onboarding")
_OF_USER: Final = "/api/v1/recommend/"
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

BUSY: Final = "the server has as many requests under way as it can answer in time; try again soon"

ANSWER_SHARE: Final = 0.5
"""Of a deadline, how long lists should take under load: the rest is for those that take longer than most."""
FEWEST_LISTS: Final = 10
"""More would keep their deadline only where seventy a second get done. Whose turn comes too late gets what is popular,
which takes no time: with fewer a moment's stall would refuse some of a small pool, which come again at once."""
FIRST_LISTS: Final = 16
CATALOGUE_S: Final = 0.1
"""How long a look at the catalogue should take; most take some milliseconds, all of which are Postgres's."""
FEWEST_LOOKS: Final = 4
"""While Postgres is slow they may hold half of its connections: the others are for histories."""
MOST_LOOKS: Final = 32
"""A page that asks for each of its items by itself is let in, where that is quick."""
ACKNOWLEDGE_S: Final = 1.0
"""How long Kafka should take for what is posted; it batches, so that many may wait together."""
MOST_POSTED: Final = 1024
MOST_VERSIONS: Final = 4
"""Anybody may ask which versions there are: while MLflow hangs, operators still have places of their own."""
MOST_OPERATORS: Final = 4
"""What operators ask is heavy and can wait; lists keep nine tenths of the server and more."""


def kind_of(method: str, path: str) -> str | None:
    """Return which limit a request falls under; None for probes, metrics and pages, which are never refused.

    >>> kind_of("GET", "/api/v1/recommend/u1"), kind_of("POST", "/api/v1/items"), kind_of("GET", "/health/ready")
    ('lists', 'posted', None)
    >>> kind_of("GET", "/api/v1/recs/models/7"), kind_of("GET", "/api/v1/recs/models-fan"), kind_of("POST", "/events")
    ('versions', 'lists', 'posted')
    >>> kind_of("GET", "/api/v1/items/i"), kind_of("GET", "/api/v1/items/i/similar")
    ('catalogue', 'lists')
    >>> kind_of("POST", "/api/v1/models/rollback"), kind_of("DELETE", "/api/v1/users/u")
    ('operators', 'operators')
    """
    reads = method in _READING
    if reads and path.startswith(_OF_USER):  # what is asked most, and refused most
        return LISTS
    # What is open to everybody must not take the places of operators.
    if reads and _is_below(path, _MODELS):
        return VERSIONS
    if _is_below(path, _POSTED) or (not reads and method != "DELETE" and _is_below(path, _USERS)):
        return POSTED
    if _is_below(path, _OPERATORS) and not (reads and _is_below(path, _TRAIN)):  # the list of a user of that name
        return OPERATORS
    if not _is_below(path, LIST_PATHS):
        return None
    return _kind_of_items(path, reads=reads) if path.startswith(_ITEMS) else LISTS


def _kind_of_items(path: str, *, reads: bool) -> str:
    """Return the limit of a request about items; those alike and those found are lists, made without Postgres."""
    if path.endswith("/similar" if reads else "/search"):
        return LISTS
    return CATALOGUE if reads else POSTED


def _is_below(path: str, roots: tuple[str, ...]) -> bool:
    """Return whether a path is one of some, or below it."""
    return path.startswith(roots) and any(path == root or path.startswith(f"{root}/") for root in roots)


def limits_of(metrics: Metrics, deadline_s: float) -> dict[str, FlightLimit]:
    """Return the limits on requests under way by kind, of a server whose lists may take so many seconds."""
    kinds = (LISTS, CATALOGUE, POSTED, VERSIONS, OPERATORS)
    show = {kind: metrics.limits.flight_limit.labels(kind).set for kind in kinds}
    return {
        LISTS: FlightLimit(deadline_s * ANSWER_SHARE, lowest=FEWEST_LISTS, first=FIRST_LISTS, show=show[LISTS]),
        CATALOGUE: FlightLimit(
            CATALOGUE_S, lowest=FEWEST_LOOKS, first=FIRST_LISTS, highest=MOST_LOOKS, show=show[CATALOGUE]
        ),
        POSTED: FlightLimit(ACKNOWLEDGE_S, lowest=64, highest=MOST_POSTED, show=show[POSTED]),
        VERSIONS: FlightLimit(ACKNOWLEDGE_S, lowest=MOST_VERSIONS, highest=MOST_VERSIONS, show=show[VERSIONS]),
        OPERATORS: FlightLimit(ACKNOWLEDGE_S, lowest=MOST_OPERATORS, highest=MOST_OPERATORS, show=show[OPERATORS]),
    }


class SheddingMiddleware:
    """Counts requests under way by kind and refuses what is over the limit of its kind.

    A request counts from the moment when all of it has come until its answer is there: a client that sends slowly, or
    does not read, takes nothing from the others.

    Parameters
    ----------
    limits
        By kind, as `limits_of` gives them.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, limits: Mapping[str, FlightLimit]) -> None:
        self.app = app
        self._shed = metrics.limits.shed
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        kind = kind_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if kind is None:
            await self.app(scope, receive, send)
            return
        limit = self._limits[kind]
        if limit.is_full:
            self._shed.labels(kind).inc()
            await _refusal(scope)(scope, receive, send)
        else:
            await self._counted(limit, scope, receive, send)

    async def _counted(self, limit: FlightLimit, scope: Scope, receive: Receive, send: Send) -> None:
        flight: Flight | None = limit.begin() if scope["method"] in _READING else None

        async def receive_whole() -> Message:
            nonlocal flight
            message = await receive()
            if flight is None and not message.get("more_body", False):
                flight = limit.begin()
            return message

        async def send_answer(message: Message) -> None:
            if flight is not None:
                flight.end()
            await send(message)

        try:
            await self.app(scope, receive_whole, send_answer)
        finally:
            if flight is not None:
                flight.end()


def _refusal(scope: Scope) -> ASGIApp:
    request_id = request_id_of(dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1"))
    headers = {"Retry-After": str(RETRY_AFTER_S), "X-Request-Id": request_id}
    return problem_response(scope["path"], request_id, 503, BUSY, headers=headers)
