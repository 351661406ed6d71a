"""What is known of users."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends

from serving.auditing import By, by_whom
from serving.auth import ADMIN_PROBLEMS, Require
from serving.openapi import PROBLEMS
from serving.path_ids import ANY
from serving.record_schemas import UserFeaturesAnswer
from serving.responses import JsonResponse
from serving.routes.recommend import PathId
from serving.user_features import UserFeatures

_PATH: Final = f"/api/v1/features/{{user_id:{ANY}}}"


def users_router(users: UserFeatures, admin: Require) -> APIRouter:
    """Return the routes about users' features: whoever knows an id would read what its user did."""
    router = APIRouter(tags=["users"], dependencies=[Depends(admin)], responses={**PROBLEMS, **ADMIN_PROBLEMS})

    @router.get(
        _PATH,
        operation_id="get_user_features",
        summary="What the ranker would see of a user now",
        response_model=UserFeaturesAnswer,
    )
    async def get_user_features(user_id: PathId) -> JsonResponse:
        """Answer with the user's features by name and meaning, and with a summary of the history they come from."""
        return JsonResponse(await users.of(user_id))

    @router.post(
        f"{_PATH}/refresh",
        operation_id="refresh_user_features",
        summary="Make anew what is kept of a user, and publish it",
        response_model=UserFeaturesAnswer,
    )
    async def refresh_user_features(user_id: PathId, by: Annotated[By, Depends(by_whom(admin))]) -> JsonResponse:
        """Rebuild the set of seen items from the events, and publish the features to `processed_features`."""
        return JsonResponse(await users.refresh(user_id, by))

    return router
