"""The snapshot of a run as MLflow knows data sets: by name, digest, columns, number of rows, and where it lies."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.types import DataType
from mlflow.types.schema import ColSpec, Schema

from features.build.snapshot import INTERACTIONS

DIGEST_LENGTH: Final = 32
"""MLflow keeps 36 characters of a digest."""


@dataclass(frozen=True, slots=True)
class LoggedData:
    """Some rows of a snapshot: its folder and digest, how many rows, and what they were used for."""

    name: str
    folder: Path
    sha256: str
    rows: int
    context: Literal["training", "evaluation"]

    def dataset(self) -> "SnapshotDataset":
        """Return it as MLflow takes it."""
        return SnapshotDataset(self)


class SnapshotSource(DatasetSource):
    """A folder on the machine that trained."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @staticmethod
    def _get_source_type() -> str:
        return "local"

    def load(self) -> str:
        """Return the folder; `training.frames.load_interactions` reads it."""
        return self.uri

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        del raw_source
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "SnapshotSource":
        return cls(str(raw_source))

    def to_dict(self) -> dict[str, Any]:
        """Return where it lies, as MLflow's own local sources do."""
        return {"uri": self.uri}

    @classmethod
    def from_dict(cls, source_dict: dict[str, Any]) -> "SnapshotSource":
        """Return the source of such a dictionary."""
        return cls(source_dict["uri"])


class SnapshotDataset(MetaDataset):
    """Rows of a snapshot without the rows themselves."""

    def __init__(self, data: LoggedData) -> None:
        self._rows, self._sha256 = data.rows, data.sha256
        super().__init__(
            SnapshotSource(str(data.folder.resolve())),
            name=data.name,
            digest=data.sha256[:DIGEST_LENGTH],
            schema=schema_of(INTERACTIONS),
        )

    @property
    def profile(self) -> dict[str, Any]:
        """Return what is known of the rows: how many there are, and the digest in full."""
        return {"num_rows": self._rows, "sha256": self._sha256}

    def to_dict(self) -> dict[str, str]:
        """Return all of it as MLflow keeps it."""
        return super().to_dict() | {"profile": json.dumps(self.profile)}


def schema_of(columns: pa.Schema) -> Schema:
    """Return columns of parquet in MLflow's types."""
    kinds = {pa.float64(): DataType.double, pa.bool_(): DataType.boolean, pa.string(): DataType.string}
    return Schema([ColSpec(kinds.get(field.type, DataType.datetime), field.name) for field in columns])
