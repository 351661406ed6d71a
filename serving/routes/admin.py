"""Routes of operators: dead letters, the account of all events, erasure of users."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from features.admin.dead_letters import Filter
from features.contracts.event_problems import REASONS, Reason
from serving import operator_jobs as jobs
from serving.auditing import By, by_whom
from serving.auth import ADMIN_PROBLEMS, Require
from serving.bodies import read_body
from serving.openapi import BODY_PROBLEMS, PROBLEMS, json_body, ref
from serving.operators import Operators
from serving.path_ids import ANY
from serving.problems import Problem, ProblemError
from serving.responses import JsonResponse
from serving.routes.recommend import PathId
from serving.schemas import Instant, without_nul

QUICK_S: Final = 30.0
"""For lists and single letters."""
LONG_S: Final = 300.0
"""For what counts or deletes in whole tables."""
MOST_LETTERS: Final = 1_000

_MISSING: Final[dict[int | str, dict[str, Any]]] = {404: {"model": Problem, "description": "There is no such letter."}}
_DONE_WITH: Final[dict[int | str, dict[str, Any]]] = {
    409: {"model": Problem, "description": "The letter was replayed, discarded or erased."}
}
_FIXES: Final[dict[str, Any]] = {"a member": {"set": {"user_id": "u1"}}, "the whole message": {"raw": "{}"}}
_CHOICES: Final[dict[str, Any]] = {
    "some": {"ids": [4, 5]},
    "of one kind": {"reason": "invalid_field", "topic": "interaction_events", "dry_run": True},
    "all that wait": {"all": True},
}
LetterId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Topic = Annotated[str, StringConstraints(max_length=249), AfterValidator(without_nul)]
Moment = Annotated[Instant | None, Query(description="RFC 3339 with an offset.")]


class Fix(BaseModel):
    """How a dead letter is mended: by the whole message anew, or by the members that change."""

    model_config = ConfigDict(extra="forbid")

    raw: str | None = Field(None, description="The whole message anew.")
    set: dict[str, Any] | None = Field(
        None, description="JSON value by path.", examples=[{"user_id": "u1", "items[0].position": 1}]
    )


class Chosen(BaseModel):
    """Which open dead letters: those with the ids, of these those that the rest leaves."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Annotated[int, Field(ge=1, le=2**63 - 1)]] | None = Field(None, max_length=10_000)
    reason: Reason | None = None
    topic: Topic | None = None
    since: Instant | None = Field(None, description="Landed at or after this.")
    until: Instant | None = Field(None, description="Landed before this.")
    all: Literal[True] | None = Field(None, description="Says that all open ones are meant where nothing narrows.")
    dry_run: bool = Field(default=False, description="Only say how many.")

    def filter(self) -> Filter:
        """Return what narrows.

        Raises
        ------
        ProblemError
            422, if nothing does and `all` does not say that this is meant.
        """
        chosen = Filter(self.reason, self.topic, self.since, self.until)
        if chosen == Filter() and self.ids is None and not self.all:
            raise ProblemError(422, "name `ids`, a `reason`, a `topic` or a time, or say `all: true`")
        return chosen


class Replay(Chosen):
    """Which open dead letters are sent again."""

    force: bool = Field(default=False, description="Send also what landing would refuse again.")


ADMIN_MODELS: Final[list[type[BaseModel]]] = [Fix, Chosen, Replay]


def admin_router(operators: Operators, admin: Require) -> APIRouter:
    """Return the routes that only operators may use."""
    router = APIRouter(tags=["admin"], dependencies=[Depends(admin)], responses={**PROBLEMS, **ADMIN_PROBLEMS})
    router.include_router(_letters_router(operators))
    router.include_router(_letter_jobs_router(operators, admin))

    @router.get("/api/v1/admin/reconcile", operation_id="reconcile", summary="Is every event accounted for?")
    async def reconcile(
        trend: Annotated[int, Query(ge=0, le=2160, description="Hours to count, action by action.")] = 0,
    ) -> JsonResponse:
        """Compare offsets, counters and rows of every partition, as `python -m features reconcile --json` does."""
        settings = operators.settings
        return JsonResponse(await operators.run(lambda c: jobs.account(settings, c, trend), timeout_s=LONG_S))

    @router.delete(
        f"/api/v1/users/{{user_id:{ANY}}}",
        operation_id="erase_user",
        summary="Erase a user",
        responses={409: {"model": Problem, "description": "The erasure secret is missing, or another than before."}},
    )
    async def erase_user(
        user_id: PathId,
        by: Annotated[By, Depends(by_whom(admin))],
        dry_run: Annotated[bool, Query(description="Only say what would be erased.")] = False,  # noqa: FBT002
    ) -> JsonResponse:
        """Erase all that is held of a user, keep out what arrives later, and answer with the receipt."""
        settings = operators.settings
        receipt = await operators.run(
            lambda c: jobs.erase_user(settings, c, user_id, by.deed, dry_run=dry_run), timeout_s=LONG_S
        )
        return JsonResponse(receipt)

    return router


def _letters_router(operators: Operators) -> APIRouter:
    router = APIRouter(prefix="/api/v1/admin/dead-letters")

    @router.get("", operation_id="list_dead_letters", summary="Events that could not be landed")
    async def list_dead_letters(  # noqa: PLR0917  # FastAPI passes names
        reason: Annotated[Reason | None, Query(description=f"One of {', '.join(REASONS)}.")] = None,
        topic: Topic | None = None,
        since: Moment = None,
        until: Moment = None,
        open: Annotated[bool, Query(description="Only those that wait.")] = False,  # noqa: A002, FBT002  # API's word
        limit: Annotated[int, Query(ge=1, le=MOST_LETTERS)] = 50,
    ) -> JsonResponse:
        """Answer with dead letters, newest first, and how many there are in each state."""
        chosen = Filter(reason, topic, since, until)
        return JsonResponse(
            await operators.run(lambda c: jobs.list_letters(c, chosen, only_open=open, limit=limit), timeout_s=QUICK_S)
        )

    @router.get("/{dead_letter_id}", operation_id="get_dead_letter", summary="A dead letter", responses=_MISSING)
    async def get_dead_letter(dead_letter_id: LetterId) -> JsonResponse:
        """Answer with one dead letter, its bytes included."""
        return JsonResponse(await operators.run(lambda c: jobs.show_letter(c, dead_letter_id), timeout_s=QUICK_S))

    return router


def _letter_jobs_router(operators: Operators, admin: Require) -> APIRouter:
    router, settings = APIRouter(prefix="/api/v1/admin/dead-letters"), operators.settings
    whom = Depends(by_whom(admin))

    @router.post(
        "/{dead_letter_id}/fix",
        operation_id="fix_dead_letter",
        summary="Mend a dead letter",
        responses={**_MISSING, **_DONE_WITH, **BODY_PROBLEMS},
        openapi_extra=json_body(ref(Fix), _FIXES),
    )
    async def fix_dead_letter(request: Request, dead_letter_id: LetterId, by: Annotated[By, whom]) -> JsonResponse:
        """Keep other bytes for the next replay; refused, with every problem, while landing would refuse them."""
        fix = await read_body(request, Fix)
        raw = None if fix.raw is None else fix.raw.encode()
        return JsonResponse(
            await operators.run(
                lambda c: jobs.fix_letter(settings, c, dead_letter_id, raw, fix.set, deed=by.deed), timeout_s=QUICK_S
            )
        )

    @router.post(
        "/replay",
        operation_id="replay_dead_letters",
        summary="Send dead letters again",
        responses=BODY_PROBLEMS,
        openapi_extra=json_body(ref(Replay), _CHOICES),
    )
    async def replay_dead_letters(request: Request, by: Annotated[By, whom]) -> JsonResponse:
        """Send open dead letters to their topics, mended ones as mended; an event lands once, however often sent."""
        wanted = await read_body(request, Replay)
        chosen, how = wanted.filter(), {"force": wanted.force, "dry_run": wanted.dry_run}
        return JsonResponse(
            await operators.run(
                lambda c: jobs.replay_letters(settings, c, wanted.ids, chosen, deed=by.deed, **how), timeout_s=LONG_S
            )
        )

    @router.post(
        "/discard",
        operation_id="discard_dead_letters",
        summary="Put dead letters aside",
        responses=BODY_PROBLEMS,
        openapi_extra=json_body(ref(Chosen), _CHOICES),
    )
    async def discard_dead_letters(request: Request, by: Annotated[By, whom]) -> JsonResponse:
        """Put open dead letters aside: they are kept and counted, but no replay sends them."""
        wanted = await read_body(request, Chosen)
        chosen = wanted.filter()
        return JsonResponse(
            await operators.run(
                lambda c: jobs.discard_letters(c, wanted.ids, chosen, deed=by.deed, dry_run=wanted.dry_run),
                timeout_s=LONG_S,
            )
        )

    return router
