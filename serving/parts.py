"""What the app is assembled from: every part is made elsewhere and passed in."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from serving.guard import Guard
from serving.item_reading import ItemReader
from serving.keeper import Keeper
from serving.live import Current
from serving.metrics import Metrics
from serving.models import Models
from serving.moving import AliasMoves
from serving.notes import Notes
from serving.onboarding import Onboarding
from serving.operators import Operators
from serving.pipeline import Pipeline
from serving.posting import Poster
from serving.reach import Reach
from serving.seams import Store
from serving.similar import Similar
from serving.text_search import Search
from serving.trainings import Trainings
from serving.user_features import UserFeatures


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one server.

    Attributes
    ----------
    model_name, admin_token
        Of the registry, and of admin routes; an empty token closes these.
    running
        Opens what the parts need and closes it at the end; held by the app for its lifetime.
    """

    model_name: str
    admin_token: str
    store: Store
    store_guard: Guard
    kafka: Reach
    current: Current
    keeper: Keeper
    pipeline: Pipeline
    poster: Poster
    operators: Operators
    notes: Notes
    reader: ItemReader
    search: Search
    similar: Similar
    onboarding: Onboarding
    models: Models
    moves: AliasMoves
    trainings: Trainings
    users: UserFeatures
    metrics: Metrics
    running: Callable[[], AbstractAsyncContextManager[None]]
