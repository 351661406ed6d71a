"""What one pass of the recommender over judged users leaves to measure."""

import numpy as np
import numpy.typing as npt

from features.contracts.ids import MISSING
from features.contracts.profiles import Options
from training.bundle.recommender import Recommender
from training.bundle.result import Recommendations, Trace
from training.bundle.sources import POPULAR_PLANS, SOURCES, Offer
from training.data import Interactions
from training.evaluation.judged import Judged
from training.evaluation.methods import POPULAR, SERVED, TITLES, K, baseline_lists, baselines, too_short
from training.evaluation.popularity import Lists
from training.evaluation.sampled import CandidateSample
from training.evaluation.source_recall import BUDGETS, recall_alone, recall_by_budget
from training.lists import Group

Positions = npt.NDArray[np.int64]


class Measures:
    """Collects lists and recalls of judged users while lists are made for them, and perhaps for others.

    Attributes
    ----------
    lists
        int32 (n_judged, K) by method, `MISSING` behind the end of a short list.
    offered
        bool (n_sources,), which sources ranked something for somebody.
    source, because
        Of the served lists, as in `Recommendations`.
    recalled
        float64 (n_judged,), share of labels among all candidates.
    by_budget, alone
        float64 (n_judged, n_sources, len(BUDGETS)), NaN for users outside the sample, and (n_judged, n_sources).
    """

    def __init__(self, recommender: Recommender, judged: Judged, options: Options, seed: int) -> None:
        self._recommender, self._judged, self._options = recommender, judged, options
        n_users, n_sources = len(judged), len(recommender.sources)
        self._baselines = baselines(recommender)
        self._short = too_short(self._baselines.values(), recommender)
        self._names = [source.name for source in recommender.sources]
        # Where all have one moment, what was before it is all that was known.
        self._most_liked = (
            _by_liking(judged.history, recommender.n_items) if len(np.unique(judged.as_of_us)) > 1 else None
        )
        self._budgets = np.array([recommender.plan.budgets.get(name, 0) for name in self._names])
        self.lists = {method: np.full((n_users, K), MISSING, dtype=np.int32) for method in (SERVED, *self._baselines)}
        self.source = np.full((n_users, K), MISSING, dtype=np.int8)
        self.because = np.full((n_users, K), MISSING, dtype=np.int32)
        self.recalled = np.zeros(n_users)
        self.by_budget = np.full((n_users, n_sources, len(BUDGETS)), np.nan)
        self.alone = np.zeros((n_users, n_sources))
        self.offered = np.zeros(n_sources, dtype=bool)
        self.sample = CandidateSample(n_users, seed, recommender.ranker)

    def compared(self) -> dict[str, Lists]:
        """Return the lists of the served line and of the baselines that had something to offer.

        A catalogue without categories leaves their sources empty: what they stand for then is popularity alone.
        """
        empty = {name for name, offered in zip(self._names, self.offered, strict=True) if not offered}
        empty -= {*POPULAR_PLANS}
        return {method: found for method, found in self.lists.items() if self._baselines.get(method) not in empty}

    def see(self, group: Group, found: Recommendations, judged_as: Positions | None = None) -> None:
        """Take in a batch of users and their traced lists of at least `K` items.

        `judged_as` holds the position among the judged of each user asked for, -1 for those who are not judged; by
        default users are asked for as they are judged.
        """
        view = self._recommender.view(group.statistics)
        popular = self._recommender.popular(group.profiles, group.statistics, self._options).items
        positions = group.position if judged_as is None else judged_as[group.position]
        for row in np.flatnonzero(positions >= 0).tolist():
            user = int(positions[row])
            self.lists[SERVED][user] = found.items[row, :K]
            self.source[user], self.because[user] = found.sources[row, :K], found.because[row, :K]
            sampled = user in self.sample
            limit, only = (BUDGETS[-1], SOURCES) if sampled else (K, self._short)
            own = self._recommender.offers(group.profiles, row, view, self._options, limit, only=only)
            if sampled:
                self.by_budget[user] = recall_by_budget(own, self._judged.labels[user], self._recommender.n_items)
            self._measure(user, found.traces[row], own, popular[row])
            if self._most_liked is not None:
                free = ~self._recommender.blocked(group.profiles, row, self._options)[self._most_liked]
                most_liked = self._most_liked[free][:K]
                self.lists[TITLES[POPULAR]][user, : len(most_liked)] = most_liked

    def _measure(self, user: int, trace: Trace, own: list[Offer], popular: npt.NDArray[np.int32]) -> None:
        labels = self._judged.labels[user]
        by_name = {name: offer for name, offer in zip(self._names, own, strict=True) if name in self._short}
        lists = baseline_lists(tuple(self._baselines.values()), trace, by_name, popular)
        for method, name in self._baselines.items():
            self.lists[method][user, : len(lists[name])] = lists[name]
        self.offered |= ~np.isnan(trace.ranks).all(axis=0)
        self.recalled[user] = np.isin(trace.candidates, labels).sum() / len(labels)
        self.alone[user] = recall_alone(trace.candidates, trace.ranks, self._budgets, labels)
        self.sample.see(user, trace, labels)


def _by_liking(history: Interactions, n_items: int) -> npt.NDArray[np.int32]:
    """Return all items, int32 (n_items,), those first that were liked most often in all that was known.

    As in the source, a user who does the same to an item again counts once.

    The source `popular` knows what was before a user's moment. Where users are cut at moments of their own, models are
    fitted on more than that, and popularity would be a weaker baseline than it is.
    """
    count = np.bincount(history.item[(history.weight > 0) & ~history.repeat], minlength=n_items)
    return np.argsort(-count, kind="stable").astype(np.int32)
