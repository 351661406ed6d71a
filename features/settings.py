"""Settings of every process: ``MARQUEE_*`` variables, read once at start, wrong ones named."""

from pathlib import Path
from typing import Annotated

from pydantic import AnyUrl, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from features.contracts.errors import MarqueeError


class SettingsError(MarqueeError):
    """A ``MARQUEE_*`` variable is missing or malformed."""


class Settings(BaseSettings):
    """What a process needs to know of its surroundings; ``.run/env`` sets all of it for a local stack."""

    model_config = SettingsConfigDict(env_prefix="MARQUEE_", frozen=True, extra="ignore")

    database_url: SecretStr = Field(description="Postgres URL of Marquee's own database, with user and password.")
    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port, comma-separated.")
    mlflow_tracking_uri: AnyUrl = Field(AnyUrl("http://127.0.0.1:5000"), description="MLflow server.")
    airflow_url: AnyUrl = Field(AnyUrl("http://127.0.0.1:8080"), description="Airflow API server.")
    airflow_username: str = Field("admin", description="Login at Airflow's API, by which servers start trainings.")
    airflow_password: SecretStr = Field(
        SecretStr(""), description="Password of that login; empty = servers start no training."
    )
    airflow_link: Annotated[AnyUrl | None, BeforeValidator(lambda url: url or None)] = Field(
        None, description="Where browsers reach Airflow, for links; empty = MARQUEE_AIRFLOW_URL."
    )
    mlflow_link: Annotated[AnyUrl | None, BeforeValidator(lambda url: url or None)] = Field(
        None, description="Where browsers reach MLflow, for links; empty = MARQUEE_MLFLOW_TRACKING_URI."
    )
    api_url: AnyUrl = Field(AnyUrl("http://127.0.0.1:8000"), description="Where clients reach the API.")
    api_host: str = Field("127.0.0.1", description="Address that the API binds.")
    api_port: int = Field(8000, ge=1, le=65535, description="Port that the API binds.")
    workers: int = Field(1, ge=1, le=64, description="Processes that serve the API.")
    model_name: str = Field("marquee", min_length=1, description="Registered model in MLflow.")
    model_alias: str = Field("champion", min_length=1, description="Alias of the model version that is served.")
    admin_token: SecretStr = Field(SecretStr(""), description="Bearer token of admin routes; empty closes them.")
    erasure_secret: SecretStr = Field(SecretStr(""), description="Key of the digests by which erased users are known.")
    work_dir: Path = Field(Path(".run/work"), description="Where training steps keep the files of each run.")
    keep_runs: int = Field(
        10, ge=0, description="Training runs whose files are kept, beside those of versions with an alias; 0 = all."
    )
    cache_dir: Path = Field(Path(".run/bundles"), description="Where servers keep verified bundles, by digest.")
    mappings: Annotated[Path | None, BeforeValidator(lambda path: path or None)] = Field(
        None, description="File that maps other services' topics; empty = the one that is shipped."
    )
    doctor: Annotated[Path | None, BeforeValidator(lambda path: path or None)] = Field(
        None, description="YAML with severities and thresholds of the data doctor; empty = the defaults."
    )
    gate: Annotated[Path | None, BeforeValidator(lambda path: path or None)] = Field(
        None, description="YAML with what the gate asks of a new version; empty = the rules that are shipped."
    )
    action_weights: Annotated[Path | None, BeforeValidator(lambda path: path or None)] = Field(
        None, description="YAML that says what actions weigh; empty = found from the data."
    )
    retention_days: int = Field(0, ge=0, description="Days after which events are deleted; 0 keeps all.")
    train_after_events: int = Field(
        100_000, ge=0, description="Interactions after which a training is due, besides the nightly one; 0 = never."
    )
    fresh_share: float = Field(
        0.0, ge=0, le=1, description="Share of a list's places that goes to items nobody acted on yet; 0 = none."
    )
    fresh_draw: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How likely it is for each of these places that its item is drawn; 0 = the best is.",
    )
    diversity: float = Field(
        0.0, ge=0, le=1, description="How much lists avoid items like those above them, unless a request says; 0 = not."
    )
    deadline_ms: int = Field(
        150, ge=1, le=60_000, description="Time that a list may take, unless a request says; what is late is left out."
    )
    answers_mb: int = Field(
        64,
        ge=0,
        description="Megabytes of lists that a server keeps to give them again while nothing changed; 0 = none.",
    )
    record_share: float = Field(
        0.01, ge=0, le=1, description="Share of lists that are recorded with all that they were made from; 1 = all."
    )
    record_days: int = Field(30, ge=0, description="Days after which records of served lists go; 0: as events.")
    drift_blocks: bool = Field(
        False,  # noqa: FBT003  # the default
        description="Whether large drift of served features or scores keeps the gate from promoting by itself.",
    )
    log_format: str = Field("console", pattern="^(console|json)$", description="Log lines for people or machines.")


def load_settings() -> Settings:
    """Return the settings of this process.

    Raises
    ------
    SettingsError
        Naming each missing or malformed variable and what it is for; never a secret's value.
    """
    try:
        return Settings()  # pydantic reads the environment
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            field = str(problem["loc"][0])
            purpose = Settings.model_fields[field].description if field in Settings.model_fields else ""
            lines.append(f"MARQUEE_{field.upper()}: {problem['msg']}. {purpose}")
        raise SettingsError(
            "settings are incomplete (run `. .run/env` for the local stack):\n" + "\n".join(lines)
        ) from None
