"""Where diffs lie among the artifacts of an MLflow run."""

from typing import Final

ARTIFACTS: Final = "diff"
"""Folder that holds, for each version that a run's version was compared with, a page and its numbers as JSON."""
