"""Airflow plugin: a deadline that counts from when a run may begin, which every run has."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.definitions.deadline import BaseDeadlineReference

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class RunAfter(BaseDeadlineReference):
    """When a run may begin: at its tick, or when a form, the API or an asset asked for it.

    Airflow's own references leave runs out: those that no tick made have no logical date, and of runs whose deadline
    counts from their queueing no task can be cleared (3.3.2 answers with an internal error).
    """

    required_kwargs: ClassVar = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: "Session", dag_id: str, run_id: str) -> datetime | None:
        """Return the moment; called by Airflow's scheduler and API server."""
        from airflow.models import DagRun  # noqa: PLC0415  # not in the processes that parse DAGs
        from sqlalchemy import select  # noqa: PLC0415

        return session.scalar(select(DagRun.run_after).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))


class MarqueePlugin(AirflowPlugin):
    """What Airflow finds in the folder of plugins."""

    name = "marquee"
    deadline_references: list[Any] = [RunAfter]  # noqa: RUF012  # as Airflow declares it
