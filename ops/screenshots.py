"""``python -m ops.screenshots [NAME ...]``: pictures of the running stack's pages, as the README shows them.

Needs a Chromium on the PATH (Debian: ``apt-get install chromium``) and a stack on which `make demo` has run.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from playwright.sync_api import Page, sync_playwright

from features.contracts.errors import MarqueeError
from training.diff.names import ARTIFACTS as DIFFS

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "docs" / "screenshots"
DAG: Final = "train_recommender"
# The page loads nothing from elsewhere, and Chromium is kept from trying: no updates, no sync, no background calls.
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS: Final = 120_000
"""For a page on a machine that does much else."""
QUIET: Final = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
"""MLflow opens its assistant beside a browser's first page of a server on this machine; it has no setting for that."""
Shots = dict[str, Callable[[], None]]
SIZE: Final = {"width": 1440, "height": 900}


class NotShownError(MarqueeError):
    """No run waits, or has waited, for a person; or no version was compared with another: there is no such page."""


class Pages:
    """The pages of one stack, opened in one browser."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._airflow = os.environ["MARQUEE_AIRFLOW_URL"].rstrip("/")
        self._mlflow = os.environ["MARQUEE_MLFLOW_TRACKING_URI"].rstrip("/")
        self._api = os.environ["MARQUEE_API_URL"].rstrip("/")
        self._client = MlflowClient(self._mlflow)

    def shots(self) -> Shots:
        """Return what opens each page, by the name of its picture."""
        return {
            "airflow-dags": self.airflow_dags,
            "airflow-run": self.airflow_run,
            "airflow-form": self.airflow_form,
            "airflow-assets": self.airflow_assets,
            "airflow-approval": self.airflow_approval,
            "airflow-rollback": self.airflow_rollback,
            "mlflow-run": self.mlflow_run,
            "mlflow-plots": self.mlflow_plots,
            "mlflow-model": self.mlflow_model,
            "mlflow-version": self.mlflow_version,
            "mlflow-gate": self.mlflow_gate,
            "report": self.report,
            "diff": self.diff,
            "api-docs": self.api_docs,
        }

    def log_in(self) -> None:
        """Log in to Airflow."""
        self._page.goto(self._airflow)
        self._page.fill("input[name=username]", os.environ["MARQUEE_AIRFLOW_USERNAME"])
        self._page.fill("input[name=password]", os.environ["MARQUEE_AIRFLOW_PASSWORD"])
        self._page.click("button[type=submit]")
        self._page.wait_for_url(lambda url: "login" not in url)

    def airflow_dags(self) -> None:
        """Open the list of DAGs."""
        self._page.goto(f"{self._airflow}/dags")
        self._page.get_by_text("rollback_model").first.wait_for()

    def airflow_assets(self) -> None:
        """Open the graph that leads from landed events to the version that serves."""
        self._page.goto(f"{self._airflow}/assets")
        self._page.get_by_text("champion").first.click()
        self._page.get_by_text("Task Dependencies").first.click()
        self._page.get_by_text("train_recommender").first.wait_for()

    def airflow_approval(self) -> None:
        """Open the question of the latest run that asked a person, answered or not."""
        self._page.goto(f"{self._run_that_asks()}/tasks/approval/required_actions")
        self._page.get_by_text("Promote version").first.wait_for()

    def airflow_rollback(self) -> None:
        """Open the form that goes back to the version before."""
        self._page.goto(f"{self._airflow}/dags/rollback_model")
        self._page.get_by_role("button", name="Trigger").first.click()
        self._page.get_by_text("kept with the move").first.wait_for()

    def airflow_run(self) -> None:
        """Open the grid of train_recommender."""
        self._page.goto(f"{self._airflow}/dags/train_recommender")
        self._page.get_by_text("snapshot").first.wait_for()

    def airflow_form(self) -> None:
        """Open the form that starts a run."""
        self._page.goto(f"{self._airflow}/dags/train_recommender")
        self._page.get_by_role("button", name="Trigger").first.click()
        self._page.get_by_text("Promote if the gate allows").first.wait_for()

    def mlflow_run(self) -> None:
        """Open the champion's MLflow run."""
        self._open_run("")
        self._page.get_by_text("Registered models").first.wait_for()

    def mlflow_plots(self) -> None:
        """Open a plot among the run's artifacts."""
        self._open_run("/artifacts/report/metrics.png")
        self._page.locator("img[src*=metrics], img[src^=blob]").first.wait_for()

    def mlflow_model(self) -> None:
        """Open the registered model."""
        self._page.goto(f"{self._mlflow}/#/models/{self._model}")
        self._page.get_by_text("champion").first.wait_for()

    def mlflow_version(self) -> None:
        """Open the version that serves: its description, tags and aliases."""
        version = self._client.get_model_version_by_alias(self._model, self._alias).version
        self._page.goto(f"{self._mlflow}/#/models/{self._model}/versions/{version}")
        self._page.get_by_text("gate_reasons").first.wait_for()

    def mlflow_gate(self) -> None:
        """Open the picture of the gate's decision on the newest version."""
        run = self._client.get_run(str(self._newest().run_id)).info
        self._page.goto(f"{self._mlflow}/#/experiments/{run.experiment_id}/runs/{run.run_id}/artifacts/gate/gate.png")
        self._page.locator("img[src*=gate], img[src^=blob]").first.wait_for()

    def report(self) -> None:
        """Open the champion's report."""
        self._open_file(self._champion_run(), "report", "report.html")

    def diff(self) -> None:
        """Open the newest version beside the first that it was compared with."""
        run = str(self._newest().run_id)
        pages = [file.path for file in self._client.list_artifacts(run, DIFFS) if file.path.endswith(".html")]
        if not pages:
            raise NotShownError(f"version {self._newest().version} was compared with none")
        self._open_file(run, DIFFS, Path(pages[0]).name)

    def api_docs(self) -> None:
        """Open the API's documentation."""
        self._page.goto(f"{self._api}/docs")
        self._page.get_by_text("Recommend items to a user").first.wait_for()

    def _open_file(self, run: str, folder: str, name: str) -> None:
        """Open a page among a run's artifacts as a file, whose pictures lie beside it."""
        found = self._client.download_artifacts(run, folder, tempfile.mkdtemp())
        self._page.goto((Path(found) / name).as_uri())

    def _newest(self) -> ModelVersion:
        found = self._client.search_model_versions(f"name='{self._model}'", order_by=["version_number DESC"])
        return found[0]

    def _open_run(self, tab: str) -> None:
        run = self._client.get_run(self._champion_run()).info
        self._page.goto(f"{self._mlflow}/#/experiments/{run.experiment_id}/runs/{run.run_id}{tab}")

    @property
    def _model(self) -> str:
        return os.environ.get("MARQUEE_MODEL_NAME", "marquee")

    def _champion_run(self) -> str:
        return str(self._client.get_model_version_by_alias(self._model, self._alias).run_id)

    @property
    def _alias(self) -> str:
        return os.environ.get("MARQUEE_MODEL_ALIAS", "champion")

    def _run_that_asks(self) -> str:
        """Return the page of the run that asked a person last.

        Raises
        ------
        NotShownError
            If none has.
        """
        runs = f"{self._airflow}/api/v2/dags/{DAG}/dagRuns"
        with httpx.Client(headers={"Authorization": f"Bearer {self._token()}"}, timeout=30.0) as client:
            asked = client.get(f"{runs}/~/hitlDetails", params={"order_by": "-created_at", "limit": 1})
            asked.raise_for_status()
        details = asked.json()["hitl_details"]
        if not details:
            raise NotShownError(f"no run of {DAG} has asked anybody: start one with the form's approval on `always`")
        return f"{self._airflow}/dags/{DAG}/runs/{details[0]['task_instance']['dag_run_id']}"

    def _token(self) -> str:
        login = {name: os.environ[f"MARQUEE_AIRFLOW_{name.upper()}"] for name in ("username", "password")}
        answer = httpx.post(f"{self._airflow}/auth/token", json=login, timeout=30.0)
        answer.raise_for_status()
        return str(answer.json()["access_token"])


def chosen(shots: Shots, names: Sequence[str]) -> Shots:
    """Return the pictures that are named; all where none is.

    Raises
    ------
    MarqueeError
        If there is no picture of a name.
    """
    if unknown := [name for name in names if name not in shots]:
        raise MarqueeError(f"no picture is called {', '.join(unknown)}; there are: {', '.join(shots)}")
    return {name: shots[name] for name in names or shots}


def main(names: Sequence[str]) -> int:
    """Write pictures, all where none is named, and return the exit code."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise MarqueeError("no chromium on the PATH; `apt-get install chromium` brings one")
    if "MARQUEE_AIRFLOW_URL" not in os.environ:
        raise MarqueeError("no stack in the environment; `. .run/env` gives the running one")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            headless=True,
            args=list(FLAGS),
            viewport=SIZE,  # type: ignore[arg-type]
        )
        context.add_init_script(QUIET)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        pages = Pages(page)
        pages.log_in()
        for name, show in chosen(pages.shots(), names).items():
            try:
                show()
            except NotShownError as error:
                print(f"{name}: left out: {error}")
                continue
            page.wait_for_timeout(4_000)  # charts are drawn after the data has come, and pages poll without end
            page.screenshot(path=FOLDER / f"{name}.png")
            print(FOLDER / f"{name}.png")
        context.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MarqueeError as error:
        sys.exit(f"error: {error}")
