"""The API process over the wire: requests made from its OpenAPI document, and hostile ones; real services behind it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from pydantic import SecretStr
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from features.settings import Settings
from ops.local.ports import LOOPBACK, free_port
from tests.conftest import WaitUntil
from tests.support.hostile import Hostility, fire, targets_of
from tests.support.landing import recreate_topics
from tests.support.serving import TOKEN, Api, publish_tiny
from training.bundle.aliases import move_alias
from training.bundle.registry import Registry

pytestmark = pytest.mark.integration

SHOTS = 10_000
EXAMPLES = 12
"""Requests of each operation, of those that fit its schema and of those that do not."""
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def api(
    new_database: Callable[[], str],
    kafka_bootstrap: str,
    mlflow_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
    wait_until: WaitUntil,
) -> Iterator[Api]:
    """Yield a server that serves a version."""
    url, folder = new_database(), tmp_path_factory.mktemp("wire")
    recreate_topics(Settings(database_url=SecretStr(url), kafka_bootstrap_servers=kafka_bootstrap), partitions=1)
    registry = Registry(mlflow_uri, "wire-tests")
    move_alias(registry, "champion", publish_tiny(registry, folder / "published", 1).version)
    api = Api(
        free_port(),
        {
            "MARQUEE_DATABASE_URL": url,
            "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
            "MARQUEE_MLFLOW_TRACKING_URI": mlflow_uri,
            "MARQUEE_MODEL_NAME": registry.model_name,
            "MARQUEE_CACHE_DIR": str(folder / "bundles"),
        },
        folder / "api.log",
    )
    try:
        api.start()
        wait_until(lambda: api.info()["version"] is not None, 60, "a version is served")
        yield api
    finally:
        api.end()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "misfitting"])
def test_answers_are_as_the_openapi_document_says(api: Api, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(api.client.get("/openapi.json").json())
    schema.config.update(base_url=str(api.client.base_url))
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        for found in schema.get_all_operations():
            assert isinstance(found, Ok)
            _try(found.ok().as_strategy(generation_mode=mode), session)
    assert api.client.get("/health/ready").json() == {"ready": True}


def _try(cases: st.SearchStrategy[Case[Any]], session: requests.Session) -> None:
    """Send requests of one operation, the same ones each time, and hold each answer against the document."""

    @seed(7)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def send(case: Case[Any]) -> None:
        response = case.call(session=session)
        case.validate_response(response, checks=[_never_fails, *CHECKS])

    # Where nothing is asked for, nothing can misfit.
    with suppress(Unsatisfiable):
        send()


def _never_fails(context: Any, response: Response, case: Case[Any]) -> None:
    """Refuse what is our fault; a 503 is none where something that the document names is missing."""
    del context
    documented = str(response.status_code) in case.operation.definition.raw["responses"]
    assert response.status_code < 500 or (response.status_code == 503 and documented), response.text


def test_head_has_no_body_and_the_connection_goes_on(api: Api) -> None:
    connection = HTTPConnection(LOOPBACK, api.port, timeout=20)
    for method in ("HEAD", "GET", "HEAD"):
        connection.request(method, "/model/info")
        response = connection.getresponse()
        body = response.read()
        assert (response.status, bool(body)) == (200, method == "GET")
    connection.close()


def test_ten_thousand_hostile_requests_find_no_failure(api: Api) -> None:
    hostility = Hostility(targets_of(api.client.get("/openapi.json").json()), TOKEN, seed=20260101)
    shots = [hostility.shot() for _ in range(SHOTS)]
    outcome = asyncio.run(fire(LOOPBACK, api.port, shots))
    assert outcome.failures == []
    assert outcome.statuses.total() == SHOTS
    # They came through to the routes, and were not merely turned away.
    assert {200, 202, 400, 404, 405, 422} <= outcome.statuses.keys()
    assert outcome.statuses[200] + outcome.statuses[422] > SHOTS / 4
    # Nor where nobody waits for the answer any more.
    assert 'status="500"' not in api.client.get("/metrics").text
    assert api.client.get("/health/ready").json() == {"ready": True}
    assert len(api.recommend("afterwards", k=5)["items"]) == 5
