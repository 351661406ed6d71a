"""Texts on real Postgres, Kafka and MLflow: published, embedded, found, similar, recommended; one encoder at a time."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from features.db.connection import connect
from features.embedding.encoders import embedded_before, load_encoder, put_encoder
from features.settings import Settings
from features.text.documents import Document
from features.text.encoder import Encoder
from features.text.minilm import fit_minilm
from features.text.svd import fit_svd
from ops.local.ports import free_port
from ops.setup.minilm import model_folder
from tests.conftest import WaitUntil
from tests.support.landing import ROOT, Rig, recreate_topics
from tests.support.minilm import needs_minilm
from tests.support.serving import TOKEN, Api, items_of
from tests.support.serving_texts import KINDS, text_of
from tests.support.text_bundle import write_text_bundle
from training.bundle.aliases import move_alias
from training.bundle.registry import Registry
from training.bundle.versions import RegisteredVersion
from training.publish import Publication, publish

pytestmark = pytest.mark.integration

KNOWN = {f"i{number}": text_of(number) for number in range(60)}
ODD = "a/b\n\u4e2d\U0001d518"


class Texts(Rig):
    """A rig whose texts are embedded all the time."""

    def start_embedder(self) -> "subprocess.Popen[str]":
        """Return a running `python -m features embed`; it is ended with the rig."""
        command = [sys.executable, "-m", "features", "embed", "--scan-every", "1"]
        process = subprocess.Popen(command, env=self.environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process


@pytest.fixture(scope="module")
def rig(
    new_database: Callable[[], str], kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Texts]:
    """Yield a rig over a database of this module and fresh topics, with landing and an embedder running."""
    folder = tmp_path_factory.mktemp("texts")
    rig = Texts(
        Settings(
            database_url=SecretStr(new_database()),
            kafka_bootstrap_servers=kafka_bootstrap,
            cache_dir=folder / "bundles",
        )
    )
    recreate_topics(rig.settings, partitions=2)
    rig.start_landing()
    rig.start_embedder()
    yield rig
    rig.end()


@pytest.fixture(scope="module")
def registry(mlflow_uri: str) -> Registry:
    """Return the registered model of this module."""
    return Registry(mlflow_uri, "serving-texts")


@pytest.fixture(scope="module")
def api(
    rig: Texts, registry: Registry, tmp_path_factory: pytest.TempPathFactory, wait_until: WaitUntil
) -> Iterator[Api]:
    """Yield a server without a model, whose catalogue is published and embedded."""
    folder = tmp_path_factory.mktemp("api")
    api = Api(
        free_port(),
        {
            "MARQUEE_DATABASE_URL": rig.settings.database_url.get_secret_value(),
            "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": rig.settings.kafka_bootstrap_servers,
            "MARQUEE_MLFLOW_TRACKING_URI": registry.tracking_uri,
            "MARQUEE_MODEL_NAME": registry.model_name,
            "MARQUEE_CACHE_DIR": str(rig.settings.cache_dir),
        },
        folder / "api.log",
    )
    try:
        api.start()
        post(api, KNOWN)
        wait_until(
            lambda: (said := stats(api))["searchable"] == len(KNOWN) and said["waiting"] == 0,
            120,
            "all texts can be searched",
        )
        yield api
    finally:
        api.end()


@dataclass(frozen=True)
class Answers:
    """What a server says of its texts."""

    counts: dict[str, Any]
    found: dict[str, Any]
    near: dict[str, Any]


@pytest.fixture(scope="module")
def before_a_model(api: Api) -> Answers:
    """Return what the server says while no version has the alias: tests run in any order, and some promote one."""
    return Answers(stats(api), search(api, words("kitchen"), k=10), similar(api, "i0", by="content", k=5))


@pytest.fixture(scope="module")
def bundled(before_a_model: Answers, api: Api, rig: Texts, registry: Registry, wait_until: WaitUntil) -> Api:
    """Return the server, once it serves a bundle that knows the catalogue's texts."""
    del before_a_model  # asked before this
    folder = rig.settings.cache_dir.parent / "published" / "bundle"
    digest = stats(api)["encoder"]
    with connect(rig.settings, name="test", autocommit=True) as connection:
        until = embedded_before(connection)
    encoder = load_encoder(rig.settings, digest, rig.settings.cache_dir / "encoders")
    bundle = write_text_bundle(folder, encoder, KNOWN, int(until.timestamp() * 1_000_000))
    version = published(registry, "texts", folder, bundle)
    move_alias(registry, "champion", version.version)
    wait_until(lambda: api.info()["version"] == version.version, 60, "the bundle is served")
    return api


def published(registry: Registry, run: str, folder: Path, digest: str) -> RegisteredVersion:
    return publish(
        registry,
        Publication(
            run=run, bundle=folder, digest=digest, parameters={}, metrics={}, tags={}, example_items=("i1", "i2")
        ),
    )


def post(api: Api, documents: dict[str, Document]) -> None:
    items = [
        {"item_id": item_id, "title": one.title, "text": one.text, "categories": list(one.categories)}
        for item_id, one in documents.items()
    ]
    assert api.client.post("/api/v1/items", json={"items": items}).status_code == 202


def stats(api: Api) -> dict[str, Any]:
    response = api.client.get("/api/v1/items/stats")
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def search(api: Api, query: str, **body: Any) -> dict[str, Any]:
    response = api.client.post("/api/v1/items/search", json={"query": query, **body})
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def similar(api: Api, item_id: str, **query: Any) -> dict[str, Any]:
    response = api.client.get(f"/api/v1/items/{quote(item_id, safe='')}/similar", params=query)
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def words(kind: str) -> str:
    return " ".join(KINDS[kind])


def kinds(item_ids: Sequence[str]) -> set[str]:
    return {KNOWN[item_id].categories[0] for item_id in item_ids}


def remove(api: Api, item_id: str, wait_until: WaitUntil) -> None:
    path = f"/api/v1/items/{quote(item_id, safe='')}"
    assert api.client.delete(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 202
    wait_until(lambda: api.client.get(path).status_code == 404, 30, f"{item_id} is gone")


def test_before_there_is_a_model_texts_are_found_and_have_neighbours(before_a_model: Answers) -> None:
    counts, found, near = before_a_model.counts, before_a_model.found, before_a_model.near
    assert (counts["items"], counts["embedded"], counts["waiting"], counts["oldest_waiting_s"]) == (60, 60, 0, None)
    assert (found["model_version"], found["degraded"]) == (None, False)
    assert kinds(items_of(found)) == {"kitchen"}
    assert kinds(items_of(near)) == kinds(["i0"])


def test_a_text_of_an_odd_id_is_published_read_found_changed_and_deleted(api: Api, wait_until: WaitUntil) -> None:
    path = f"/api/v1/items/{quote(ODD, safe='')}"
    text = {"item_id": ODD, "title": "Zanzibar", "author": "Quillon", "attributes": {"year": 1990}}
    assert api.client.post("/api/v1/items", json=text).status_code == 202
    wait_until(lambda: items_of(search(api, "zanzibar")) == [ODD], 30, "it is found")
    item = api.client.get(path).json()
    assert (item["title"], item["author"], item["embedded"]) == ("Zanzibar", "Quillon", True)
    assert item["attributes"] == {"year": 1990, "author": "Quillon"}
    newest = api.client.get("/api/v1/items", params={"limit": 1}).json()
    assert items_of(newest) == [ODD]

    assert api.client.patch(path, json={"title": "Xylophone", "author": "Vexford"}).status_code == 202
    wait_until(lambda: items_of(search(api, "xylophone vexford")) == [ODD], 30, "it is found by its new words")
    assert ODD not in items_of(search(api, "zanzibar"))
    assert api.client.get(path).json()["attributes"] == {"year": 1990, "author": "Vexford"}

    assert api.client.patch(path, json={"hidden": True}).status_code == 202
    wait_until(lambda: items_of(search(api, "xylophone")) == [], 30, "it is hidden")
    assert items_of(search(api, "xylophone", include_hidden=True)) == [ODD]
    assert ODD not in items_of(api.client.get("/api/v1/items").json())
    assert ODD in items_of(api.client.get("/api/v1/items", params={"include_hidden": True}).json())

    remove(api, ODD, wait_until)
    wait_until(lambda: items_of(search(api, "xylophone", include_hidden=True)) == [], 30, "it is not found")


def test_pages_hold_every_item_once_while_items_change(api: Api) -> None:
    listed: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.client.get("/api/v1/items", params={"limit": 7, "category": "law", **cursor}).json()
        listed += items_of(page)
        changed = [{"item_id": item_id, "partial": True, "stock": 5} for item_id in items_of(page)]
        assert api.client.post("/api/v1/items", json=changed).status_code == 202
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    law = {item_id for item_id, document in KNOWN.items() if document.categories == ("law",)}
    assert len(listed) == len(law)
    assert set(listed) == law


def test_a_new_text_is_found_similar_and_recommended_to_who_likes_its_kind(
    bundled: Api, rig: Texts, wait_until: WaitUntil
) -> None:
    for user, kind in (("sailor", "sea"), ("cook", "kitchen")):
        liked = [item_id for item_id, document in KNOWN.items() if document.categories == (kind,)][:3]
        events = [{"user_id": user, "item_id": item_id, "action": "like"} for item_id in liked]
        assert bundled.client.post("/api/v1/events", json=events).status_code == 202
    landed = "SELECT 1 FROM interactions WHERE user_id = ANY(ARRAY['sailor', 'cook'])"
    wait_until(lambda: len(rig.rows(landed)) == 6, 30, "the likes landed")

    started = time.monotonic()
    post(bundled, {"fresh": Document("captain sailor", "", ("sea",), "whale ship harbour storm")})
    found = wait_until(
        lambda: (answer := search(bundled, "captain sailor storm", k=3)) and "fresh" in items_of(answer) and answer,
        30,
        "the new text is found",
    )
    print(f"found {time.monotonic() - started:.2f} s after it was posted")  # noqa: T201  # for who reads the log
    assert found["model_version"] == bundled.info()["version"]
    assert "fresh" in items_of(similar(bundled, "i0", by="content", k=60))
    near = similar(bundled, "fresh", k=5)
    assert {item["source"] for item in near["items"]} == {"content"}
    assert kinds(items_of(near)) == {"sea"}
    assert {item["source"] for item in similar(bundled, "i3", k=10)["items"]} == {"content", "similar"}

    wait_until(lambda: "fresh" in items_of(bundled.recommend("sailor", k=20)), 90, "the model has grown")
    assert bundled.info()["arrivals"] >= 1
    assert "fresh" not in items_of(bundled.recommend("cook", k=17))
    item = next(i for i in bundled.recommend("sailor", k=20)["items"] if i["item_id"] == "fresh")
    assert item["title"] == "captain sailor"

    bundled.client.patch("/api/v1/items/fresh", json={"hidden": True})
    wait_until(lambda: "fresh" not in items_of(bundled.recommend("sailor", k=20)), 30, "it is hidden")
    remove(bundled, "fresh", wait_until)


def test_onboarding_asks_about_known_items_and_two_likes_make_a_list(bundled: Api) -> None:
    asked = bundled.client.get("/api/v1/onboarding", params={"k": 12}).json()
    assert (len(asked["items"]), asked["degraded"]) == (12, False)
    assert all(item["title"] for item in asked["items"])
    assert len(kinds(items_of(asked))) == len(KINDS)
    sea = [item_id for item_id in items_of(asked) if KNOWN[item_id].categories == ("sea",)][:2]
    body = {"history": [{"item_id": item_id, "action": "like"} for item_id in sea], "k": 5}
    answer = bundled.client.post("/api/v1/recommend", json=body).json()
    assert answer["fallback_reason"] is None
    assert kinds(items_of(answer)) == {"sea"}


@pytest.mark.parametrize(
    ("fit_other", "meant"),
    [
        pytest.param(partial(fit_svd, dimension=24, seed=7), "judge trial", id="svd"),
        pytest.param(partial(fit_minilm, model_folder()), "attorney felony", id="minilm", marks=needs_minilm),
    ],
)
def test_another_encoder_changes_nothing_until_a_bundle_names_it(
    *,
    fit_other: Callable[[list[Document]], Encoder],
    meant: str,
    bundled: Api,
    rig: Texts,
    registry: Registry,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    before, served = stats(bundled)["encoder"], bundled.info()["version"]
    other = fit_other(list(KNOWN.values()))
    with connect(rig.settings, name="test", autocommit=True) as connection:
        put_encoder(connection, other)
        wait_until(
            lambda: rig.rows("SELECT 1 FROM encoders WHERE digest = %s AND state = 'ready'", other.digest),
            60,
            "the other encoder has embedded all",
        )
        until = embedded_before(connection)
    assert search(bundled, words("law"))["encoder"] == before
    assert stats(bundled)["encoder"] == before

    folder = tmp_path / "bundle"
    digest = write_text_bundle(folder, other, KNOWN, int(until.timestamp() * 1_000_000))
    version = published(registry, f"texts-{other.kind}", folder, digest)
    move_alias(registry, "champion", version.version)
    answers: list[dict[str, Any]] = []

    def switched() -> bool:
        answers.append(search(bundled, words("law"), k=5))
        return bool(answers[-1]["encoder"] == other.digest)

    wait_until(switched, 60, "the bundle of the other encoder is served")
    assert all(kinds(items_of(answer)) == {"law"} for answer in answers)
    said = {(answer["encoder"], answer["model_version"]) for answer in answers}
    assert len(said) == len({encoder for encoder, _ in said}), "model and encoder change together"
    assert kinds(items_of(search(bundled, meant, k=5))) == {"law"}
    post(bundled, {"later": Document("verdict jury", "", ("law",), "judge court witness")})
    wait_until(lambda: "later" in items_of(search(bundled, "verdict jury witness")), 30, "new texts are found by it")
    remove(bundled, "later", wait_until)

    # Other tests, in any order, know what words find by the first encoder.
    move_alias(registry, "champion", served)
    wait_until(lambda: search(bundled, words("law"))["encoder"] == before, 60, "the first bundle is served again")
