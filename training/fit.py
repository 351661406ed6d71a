"""One training from interactions to the parts of a bundle: retrieval, moments, ranker, and the choice what serves."""

from training.bundle.parts import Parts
from training.config import TrainingConfig
from training.moments import Moment
from training.progress import Progress, silent
from training.ranker import RankerFit, fit_ranker
from training.retrieval import Training, fit_retrieval
from training.slices import make_slices


def fit(
    training: Training, moments: list[Moment], config: TrainingConfig, progress: Progress = silent
) -> tuple[Parts, RankerFit]:
    """Return the parts of a bundle, and how the ranker did on its validation slice.

    The ranker learns at the moments; retrieval is then fitted on all of the training data and the ranker is kept.
    """
    ranker = fit_at_moments(training, moments, config, progress)
    progress("retrieval on all training data")
    return ranker.choose(fit_retrieval(training, config)), ranker


def fit_at_moments(
    training: Training, moments: list[Moment], config: TrainingConfig, progress: Progress = silent
) -> RankerFit:
    """Return a ranker that learned at the given moments (the latest first)."""
    slices = make_slices(training, moments, config, progress)
    progress(f"ranker: learns of {len(slices.earlier)} lists, validated on {len(slices.later)}")
    return fit_ranker(slices.earlier, slices.later, config, slices.budgets)
