"""What retrieval tells the ranker of a candidate: the first columns of every feature row."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts.spec import Feature, FeatureSpec, source_features
from features.vectorize import feature_spec
from training.bundle import loops
from training.bundle.affinities import affinities, affinity_features
from training.bundle.candidates import Candidates
from training.bundle.content import Content, content_columns, content_features
from training.bundle.fusion import FUSION_CONSTANT
from training.bundle.sources import PERSONAL, User
from training.bundle.tables import NeighbourTable

OFFERED: Final = (
    *source_features(PERSONAL),
    Feature("offers", "number of sources that rank the item", "count", "retrieval"),
    Feature("blend_relative", "sum of reciprocal ranks over the best candidate's", "0..1", "retrieval"),
    *affinity_features(),
    *content_features(),
)
"""The columns, in order."""

SPEC: Final[FeatureSpec] = feature_spec(OFFERED)
"""The columns of every ranker of this code."""

_OF_SOURCES: Final = 2 * len(PERSONAL)
_OF_TEXT: Final = len(content_features())


def offered_columns(
    found: Candidates,
    user: User,
    tables: Mapping[str, NeighbourTable],
    content: Content | None,
    is_fresh: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """Return the columns of one user's candidates, float32 (n_candidates, len(OFFERED)).

    Parameters
    ----------
    found
        The candidates with each source's ranks and relative scores.
    user
        Whose they are.
    tables
        Neighbour tables by name.
    content
        The items' texts, None where no item has one.
    is_fresh
        bool (n_items,), which items have no history.
    """
    columns = np.empty((len(found.items), len(OFFERED)), dtype=np.float32)
    of_offers = columns[:, : _OF_SOURCES + 2]
    loops.offer_columns(found.ranks, found.relative, len(PERSONAL), FUSION_CONSTANT, of_offers)
    columns[:, _OF_SOURCES + 2 : -_OF_TEXT] = affinities(user, found.items, tables)
    columns[:, -_OF_TEXT:] = content_columns(content, user, found.items, is_fresh)
    return columns
