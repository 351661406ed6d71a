"""The API, assembled from parts that are passed in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.middleware import Middleware

from serving.auth import Role, may_see, require_role
from serving.direct import DirectDoor, Endpoint, direct_endpoints
from serving.heads import HeadMiddleware
from serving.health import Checkup
from serving.item_schemas import SearchRequest
from serving.list_door import ListDoor
from serving.middleware import BodyLimitMiddleware, MetricsMiddleware, RequestIdMiddleware, Utf8Middleware
from serving.openapi import install_openapi
from serving.parts import Parts
from serving.posted import POSTED_MODELS
from serving.problems import install_problem_handlers
from serving.receiving import BODY_TIMEOUT_S
from serving.routes.admin import ADMIN_MODELS, admin_router
from serving.routes.aliases import aliases_router
from serving.routes.catalogue import catalogue_router
from serving.routes.docs import install_docs
from serving.routes.events import events_router
from serving.routes.items import items_router
from serving.routes.model import model_router, versions_router
from serving.routes.moves import MOVE_MODELS, ModelOperations, moves_router
from serving.routes.onboarding import onboarding_router
from serving.routes.operations import operations_router
from serving.routes.recommend import recommend_router
from serving.routes.records import records_router
from serving.routes.users import users_router
from serving.schemas import RecommendRequest
from serving.shedding import LISTS, SheddingMiddleware, limits_of
from serving.turning_away import TurningAway

DESCRIPTION: Final = """\
Send events, get recommendations that take them into account within a second.

Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem documents. Ids are text, any Unicode but U+0000.
An answer says when something behind it was missing: `degraded`, `fallback_reason`."""


def create_app(parts: Parts, *, body_timeout_s: float = BODY_TIMEOUT_S) -> FastAPI:
    """Return the ASGI app of one server.

    Parameters
    ----------
    parts
        What it is made of.
    body_timeout_s
        How long the body of a request may take to come.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        async with parts.running():
            yield

    limits = limits_of(parts.metrics, parts.pipeline.deadline_s)
    direct: dict[tuple[str, str], tuple[Endpoint, str]] = {}
    app = FastAPI(
        title="Marquee",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(SheddingMiddleware, metrics=parts.metrics, limits=limits),
            Middleware(ListDoor, metrics=parts.metrics, pipeline=parts.pipeline),
            Middleware(DirectDoor, metrics=parts.metrics, endpoints=direct, timeout_s=body_timeout_s),
            Middleware(RequestIdMiddleware),
            Middleware(MetricsMiddleware, metrics=parts.metrics),
            Middleware(Utf8Middleware),
            Middleware(BodyLimitMiddleware, timeout_s=body_timeout_s),
            Middleware(HeadMiddleware),
        ],
    )
    app.state.turning_away = TurningAway(limits[LISTS], parts.metrics.limits.shed.labels(LISTS).inc)
    app.state.count_unread = parts.metrics.http.unread
    admin = require_role(Role.ADMIN, parts.admin_token)
    sees = may_see(Role.ADMIN, parts.admin_token)
    checkup = Checkup(parts.current, parts.store, parts.store_guard, parts.kafka, parts.keeper.slot)
    app.include_router(recommend_router(parts.pipeline, sees))
    app.include_router(events_router(parts.poster))
    app.include_router(items_router(parts.reader, parts.search, parts.similar))
    app.include_router(onboarding_router(parts.onboarding))
    app.include_router(catalogue_router(parts.poster, parts.notes, admin))
    app.include_router(model_router(parts.current, parts.keeper, parts.notes, parts.model_name, admin, sees))
    model = ModelOperations(parts.moves, parts.trainings, parts.keeper, parts.notes)
    app.include_router(moves_router(model, admin))
    app.include_router(versions_router(parts.models, sees))
    app.include_router(admin_router(parts.operators, admin))
    app.include_router(records_router(parts.operators, parts.current, admin))
    app.include_router(users_router(parts.users, admin))
    app.include_router(operations_router(checkup, parts.metrics))
    app.include_router(aliases_router(parts.pipeline, parts.poster, parts.models, model, checkup, admin, sees))
    direct.update(direct_endpoints(app.routes))
    install_docs(app)
    install_openapi(app, [RecommendRequest, SearchRequest, *POSTED_MODELS, *ADMIN_MODELS, *MOVE_MODELS])
    install_problem_handlers(app)
    return app
