"""Train in Airflow, and see what became of the new version."""

from collections.abc import Mapping
from datetime import datetime

from rich.console import Console

from ops.demo.airflow import ASKS, Airflow
from training.bundle.registry import Registry
from training.bundle.versions import RegisteredVersion

DAG = "train_recommender"
KNOWN_WITHIN_S = 90.0
ENDS_WITHIN_S = 3_600.0  # of a machine that does much else


def train(settings: Mapping[str, str], landed_at: datetime, console: Console) -> str:
    """Return the id of a training run that has ended well or asks a person, its tasks printed as they finished.

    So much has landed that Airflow may have begun one by itself since `landed_at`: then it is that one.
    """
    url, user = settings["MARQUEE_AIRFLOW_URL"], settings["MARQUEE_AIRFLOW_USERNAME"]
    with Airflow(url, user, settings["MARQUEE_AIRFLOW_PASSWORD"]) as airflow:
        airflow.wait_for_dag(DAG, KNOWN_WITHIN_S)
        airflow.unpause(DAG)
        run = airflow.under_way(DAG, landed_at) or airflow.trigger(DAG)
        console.print(f"  {url}/dags/{DAG}/runs/{run}", soft_wrap=True)
        with console.status("training"):
            for done in airflow.follow(DAG, run, ENDS_WITHIN_S):
                lasted = "" if done.seconds is None else f"{done.seconds:6.1f} s"
                console.print(f"  {done.task:<12} {done.state:<10} {lasted}")
                if done.state == ASKS:
                    answer = f"{url}/dags/{DAG}/runs/{run}/tasks/{done.task}/required_actions"
                    console.print(
                        f"  The gate leaves the new version to a person, who answers in Airflow:\n  {answer}\n"
                        "  Until then nothing moves.",
                        soft_wrap=True,
                    )
    return run


def promoted(settings: Mapping[str, str], console: Console) -> RegisteredVersion | None:
    """Return the version that the alias names now, and say how the gate decided on the newest."""
    registry = Registry(settings["MARQUEE_MLFLOW_TRACKING_URI"], settings["MARQUEE_MODEL_NAME"])
    versions = registry.versions()
    if versions:
        newest = max(versions, key=lambda one: int(one.version))
        console.print(f"  version {newest.version}: gate {newest.tags.get('gate')}")
        for reason in newest.tags.get("gate_reasons", "").splitlines():
            console.print(f"    {reason}", markup=False, soft_wrap=True)
    champion = registry.by_alias(settings["MARQUEE_MODEL_ALIAS"])
    if champion is not None:
        console.print(f"  {settings['MARQUEE_MODEL_ALIAS']} is version {champion.version}")
    return champion
