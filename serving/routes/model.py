"""What is served, and a push to look for something newer."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query

from features.contracts.times import from_us, zulu
from serving.auditing import By, by_whom
from serving.auth import ADMIN_PROBLEMS, MORE_PROBLEMS, MORE_SECURITY, MaySee, Require
from serving.bundle_slot import Outcome, Refusal
from serving.health import word_of
from serving.keeper import Keeper
from serving.live import Current
from serving.models import Models
from serving.notes import Notes
from serving.openapi import PROBLEMS
from serving.problems import Problem, ProblemError, unavailable
from serving.responses import JsonResponse
from serving.schemas import ModelInfo, ModelVersion, ModelVersions, ReloadAnswer

_ADMIN: Final[dict[int | str, dict[str, Any]]] = {
    **ADMIN_PROBLEMS,
    409: {"model": Problem, "description": "The alias points to a version that must not be served, or to none."},
}


_WHY_NOT: Final = "it must not be served; the admin's token tells why"
_WHY_AWAY: Final = "it does not answer now; the admin's token tells why"


def model_router(  # noqa: PLR0917  # what it shows, and who may see it
    current: Current, keeper: Keeper, notes: Notes, model_name: str, admin: Require, sees: MaySee
) -> APIRouter:
    """Return the routes about the served version."""
    router = APIRouter(tags=["model"], responses=PROBLEMS)

    @router.get(
        "/model/info",
        operation_id="model_info",
        summary="The served version",
        response_model=ModelInfo,
        responses=MORE_PROBLEMS,
        openapi_extra=MORE_SECURITY,
    )
    async def model_info(reasons: Annotated[bool, Depends(sees)]) -> JsonResponse:
        """Answer with the served version, and with the one that is refused if the alias points to such.

        Why it is refused, or the registry away, is told to the admin's token alone: those words hold paths, addresses.
        """
        return JsonResponse(describe_model(current, keeper, model_name, reasons=reasons))

    @router.post(
        "/model/reload",
        operation_id="model_reload",
        summary="Look at the alias now",
        response_model=ReloadAnswer,
        responses=_ADMIN,
    )
    async def model_reload(by: Annotated[By, Depends(by_whom(admin))]) -> JsonResponse:
        """Load what the alias points to, trying again even what was refused; answer once it is served."""
        look = await keeper.look(insist=True)
        version = None if current.live is None else current.live.version
        await notes.add(by.deed("reload", version or model_name, outcome=look.outcome.value, reason=look.reason))
        if look.outcome is Outcome.AWAY:
            raise unavailable("the model registry is away; what is served stays")
        if look.outcome in {Outcome.REFUSED, Outcome.NO_ALIAS}:
            raise ProblemError(409, look.reason or "there is nothing to load")
        return JsonResponse({"outcome": look.outcome.value, "version": version})

    return router


MAX_VERSIONS: Final = 100
UNKNOWN: Final[dict[int | str, dict[str, Any]]] = {
    **MORE_PROBLEMS,
    404: {"model": Problem, "description": "No such version."},
}
Limit = Annotated[int, Query(ge=1, le=MAX_VERSIONS, description="Versions wanted.")]
Version = Annotated[str, Path(pattern="^[0-9]{1,9}$", description="Number of a version.")]


def versions_router(models: Models, sees: MaySee) -> APIRouter:
    """Return the routes about all versions that there are."""
    router = APIRouter(tags=["model"], responses=PROBLEMS)
    People = Annotated[bool, Depends(sees)]  # noqa: N806  # a type

    @router.get(
        "/api/v1/models",
        operation_id="list_models",
        summary="Versions of the model",
        response_model=ModelVersions,
        responses=MORE_PROBLEMS,
        openapi_extra=MORE_SECURITY,
    )
    async def list_models(people: People, limit: Limit = 20) -> JsonResponse:
        """Answer with versions, newest first, as the registry has them: aliases, metrics, what the gate decided.

        Who moved or approved them, and why, is told to the admin's token alone.
        """
        return JsonResponse(await models.newest(limit, people=people))

    @router.get(
        "/api/v1/models/{version}",
        operation_id="get_model",
        summary="A version of the model",
        response_model=ModelVersion,
        responses=UNKNOWN,
        openapi_extra=MORE_SECURITY,
    )
    async def get_model(people: People, version: Version) -> JsonResponse:
        """Answer with one version as the registry has it; who moved or approved it, and why, to the admin alone."""
        return JsonResponse(await models.one(version, people=people))

    return router


def describe_model(current: Current, keeper: Keeper, model_name: str, *, reasons: bool) -> dict[str, Any]:
    """Return the wire form of `/model/info`.

    Parameters
    ----------
    reasons
        Whether it says why a version is refused and the registry away: such words hold paths and addresses.
    """
    live, slot = current.live, keeper.slot
    known: dict[str, Any] = dict.fromkeys(ModelInfo.model_fields)
    if live is not None:
        manifest = live.model.manifest
        known |= {
            "version": live.version,
            "digest": live.model.digest,
            "run_id": live.served.run_id,
            "trained_until": _time(manifest.trained_until_us),
            "loaded_at": _time(live.served.loaded_at_us),
            "spec_hash": manifest.spec_hash,
            "items": manifest.n_items,
            "arrivals": live.n_arrivals,
            "encoder": live.served.model.encoder,
            "code_version": manifest.code_version,
            "statistics_closed_at": _time(live.statistics.current.closed_at_us),
        }
    return known | {
        "model_name": model_name,
        "alias": slot.alias,
        "refused": None if slot.refusal is None else _refused(slot.refusal, reason=reasons),
        "registry": word_of(well=slot.reached),
        "registry_error": slot.away if reasons or slot.away is None else _WHY_AWAY,
    }


def _refused(refusal: Refusal, *, reason: bool) -> dict[str, Any]:
    return {
        "version": refusal.version,
        "digest": refusal.digest,
        "reason": refusal.reason if reason else _WHY_NOT,
        "at": _time(refusal.at_us),
    }


def _time(at_us: int) -> str | None:
    """Return an instant in RFC 3339, None where it is no date (a virtual clock's)."""
    try:
        return zulu(from_us(at_us))
    except OverflowError:
        return None
