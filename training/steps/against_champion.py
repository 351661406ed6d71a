"""The new version beside the one that serves: a diff on the run's own snapshot, for whoever decides."""

import structlog

from features.contracts.errors import ContractError
from training.bundle.registry import Registry
from training.diff.compute import Data, diff_of
from training.diff.run import log_diff
from training.diff.sides import Side
from training.steps.inputs import read_bundle
from training.steps.runner import StepContext

log = structlog.get_logger(__name__)


def diff_against_champion(context: StepContext, registry: Registry, champion: Side, data: Data) -> str | None:
    """Return where the diff lies among the artifacts of the run, None where the two cannot be compared.

    Parameters
    ----------
    champion
        What serves.
    data
        The run's own snapshot.

    Raises
    ------
    UnavailableError
        If MLflow cannot be reached.
    """
    version = registry.version(str(context.run.finished("register").results["version"]))
    sides, seed = (champion, Side(version, read_bundle(context))), context.options.seed
    try:
        found = diff_of(sides, data, seed=seed, progress=lambda what: log.info("diff", what=what))
    except ContractError as error:
        log.warning("no diff against the champion", champion=champion.version.version, error=str(error))
        return None
    return log_diff(registry, found)
