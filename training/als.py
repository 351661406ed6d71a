"""ALS item factors by implicit, from the same confidences that fold-in uses."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from training.bundle.foldin import FoldIn, confidences
from training.data import Interactions


@dataclass(frozen=True, slots=True)
class AlsConfig:
    """Settings of the factorisation; `alpha` scales preference weights to confidences."""

    factors: int = 64
    regularization: float = 5.0
    alpha: float = 0.5
    iterations: int = 15


def fit_als(matrix: sparse.csr_matrix, config: AlsConfig, *, seed: int) -> FoldIn:
    """Return item factors for all items (zeros for those nobody liked) and their Gram matrix.

    `matrix` holds users x items as `confidence_matrix` makes it, with the history limit that holds at serving. Items
    that nobody liked have no part in the fit, nor have users who liked nothing: what else is in the catalogue, and who
    comes later, does not change the factors of others.
    """
    liked, liking = np.unique(matrix.indices), np.flatnonzero(np.diff(matrix.indptr))
    with threadpool_limits(1, "blas"):
        model = model_of(config, seed)
        model.fit(matrix[liking][:, liked], show_progress=False)
    factors = np.zeros((matrix.shape[1], config.factors), dtype=np.float32)
    factors[liked] = model.item_factors
    return FoldIn(factors, gram_of(factors, config.regularization), config.alpha)


def model_of(config: AlsConfig, seed: int) -> AlternatingLeastSquares:
    """Return implicit's model with our settings; one seed, one result."""
    return AlternatingLeastSquares(
        factors=config.factors,
        regularization=config.regularization,
        alpha=config.alpha,
        iterations=config.iterations,
        random_state=seed,
    )


def gram_of(factors: npt.NDArray[np.float32], regularization: float) -> npt.NDArray[np.float32]:
    """Return Y'Y + reg I of item factors Y (n_items, n_factors): float32 (n_factors, n_factors)."""
    gram = factors.T @ factors
    gram[np.diag_indices_from(gram)] += np.float32(regularization)
    return np.ascontiguousarray(gram, dtype=np.float32)


def confidence_matrix(interactions: Interactions, limit: int) -> sparse.csr_matrix:
    """Return users x items, float32: the largest weight among each user's latest `limit` events on an item."""
    users = np.arange(len(interactions.users))
    profiles = interactions.profiles(users, limit)
    owner = np.repeat(users, np.diff(profiles.offsets))
    shape = (len(interactions.users), len(interactions.items))
    pair, weight = confidences(owner * shape[1] + profiles.item, profiles.weight)
    return sparse.csr_matrix((weight, (pair // shape[1], pair % shape[1])), shape=shape)
