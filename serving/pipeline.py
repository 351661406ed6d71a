"""The way of one request for recommendations, step by step, each in its time.

Profile, rules, encode, retrieve, features, rank, explain, impression; what is not there in time is left out and said.
A list that was made a moment ago is given again where nothing that it was made from has changed.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from features.contracts.errors import UnavailableError
from serving.answers import Answers, Wanted
from serving.asks import Ask
from serving.clock import Clock
from serving.deadline import Deadline, LateError
from serving.digests import Digests
from serving.impressions import Impressions, impression_of
from serving.kept import Basis, KeptList
from serving.listed import Listed
from serving.lister import Lister
from serving.live import Current, LiveModel
from serving.metrics import Metrics
from serving.reading import random_id
from serving.recording import Records, Shown

DEADLINE_S: Final = 0.15


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in its wire form, and its entity tag."""

    body: dict[str, Any]
    etag: str


class Pipeline:
    """Answers requests from the current bundle, and from less where something is away.

    Parameters
    ----------
    lister
        Makes lists.
    answers
        Lists that may be given again.
    current
        The served version; a request keeps the one that it started with.
    impressions, records
        Take what was shown, and of the requests that are recorded also how it came about.
    deadline_s
        How long an answer may take where the request does not say.
    """

    def __init__(
        self,
        *,
        lister: Lister,
        answers: Answers,
        current: Current,
        impressions: Impressions,
        records: Records,
        metrics: Metrics,
        clock: Clock,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._lister = lister
        self._answers = answers
        self._digests = Digests(lister.read_digests)
        self._current = current
        self._impressions = impressions
        self._records = records
        self._metrics = metrics
        self._clock = clock
        self.deadline_s = deadline_s

    async def recommend(self, ask: Ask) -> Reply:
        """Return the answer.

        Raises
        ------
        ProblemError
            503, if there is neither a bundle nor Postgres.
        """
        deadline, now_us = Deadline(ask.deadline_s or self.deadline_s), self._clock()
        live, recommendation_id = self._current.live, random_id()
        recorded = self._records.wants(recommendation_id)
        listed = await (
            self._lister.without_model(ask, deadline, now_us)
            if live is None
            else self._with_model(ask, live, deadline, now_us, recorded=recorded, seed=recommendation_id)
        )
        self._show(ask, listed, recommendation_id, now_us)
        deadline.lap("impression")
        if recorded:
            self._records.offer(Shown(ask, listed, recommendation_id, now_us, deadline.took_s))
        self._metrics.lists.served(listed.degraded, listed.fallback_reason)
        self._metrics.lists.show_steps(deadline.took_s)
        answer = _answer(ask, listed, recommendation_id)
        answer["took_ms"] = round(deadline.spent_s * 1000, 3)
        return Reply(answer, listed.etag)

    async def _with_model(
        self, ask: Ask, live: LiveModel, deadline: Deadline, now_us: int, *, recorded: bool, seed: str
    ) -> Listed:
        # What is recorded is computed: its feature rows are kept with it.
        key = None if recorded else self._answers.key_of(ask)
        kept = None if key is None else live.kept.find(key, Basis.of(ask, live, now_us))
        if kept is not None and await self._same_history(ask.user_id, kept, deadline):
            return self._answers.reused(kept)
        inputs, digest = await self._lister.inputs(ask, live, now_us, deadline, recorded=recorded, seed=seed)
        make = partial(self._lister.make, ask, inputs, deadline)
        if key is None or inputs.missing is not None:
            listed, _ = await make()
            return listed
        try:
            return await self._answers.once(Wanted(key, inputs.basis, live.kept), digest, deadline, make)
        except LateError:
            return self._lister.late(ask, inputs)

    async def _same_history(self, user_id: str | None, kept: KeptList, deadline: Deadline) -> bool:
        """Return whether a user's history is the one that a list was made from."""
        if user_id is None:
            return True
        try:
            digest = await deadline.wait_for("unchanged", partial(self._digests.of, user_id))
        except (UnavailableError, LateError):
            return False
        deadline.lap("unchanged")
        return digest == kept.digest

    def _show(self, ask: Ask, listed: Listed, recommendation_id: str, now_us: int) -> None:
        """Hand in what is shown; an anonymous list has no one to belong to, and an empty one shows nothing."""
        if ask.user_id is None or not listed.shown:
            return
        self._impressions.offer(
            impression_of(ask, listed, recommendation_id=recommendation_id, event_id=random_id(), as_of_us=now_us)
        )


def _answer(ask: Ask, listed: Listed, recommendation_id: str) -> dict[str, Any]:
    """Return an answer in its wire form, but for the time that it took."""
    answer: dict[str, Any] = {
        "user_id": ask.user_id,
        "recommendation_id": recommendation_id,
        "model_version": listed.model_version,
        "items": orjson.Fragment(listed.items),
        "degraded": listed.degraded,
        "fallback_reason": listed.fallback_reason,
    }
    if ask.experiment_id is not None:
        answer["experiment_id"] = ask.experiment_id
    if listed.explanation is not None:
        answer["explanation"] = listed.explanation
    return answer
