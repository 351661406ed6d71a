"""The new version beside the one that serves: a diff on the run's own snapshot, for whoever decides."""

import structlog

from features.contracts.errors import ContractError
from training.diff.run import Asked, data_of, log_diff, make_diff
from training.steps.register import registry_of
from training.steps.runner import StepContext

log = structlog.get_logger(__name__)


def diff_against_champion(context: StepContext) -> str | None:
    """Return where the diff lies among the artifacts of the run, None where nothing else serves or it cannot be opened.

    Raises
    ------
    UnavailableError
        If MLflow cannot be reached.
    """
    registry = registry_of(context)
    champion = registry.by_alias(context.settings.model_alias)
    version = registry.version(str(context.run.finished("register").results["version"]))
    if champion is None or champion.version == version.version:
        return None
    asked = Asked(seed=context.options.seed)
    try:
        found = make_diff(
            registry, (champion, version), data_of(context.run), asked, lambda what: log.info("diff", what=what)
        )
    except ContractError as error:
        log.warning("no diff against the champion", champion=champion.version, error=str(error))
        return None
    return log_diff(registry, found)
