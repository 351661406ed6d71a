"""Names that a training run and the registry share; imports nothing, so that neither loads the other's libraries."""

from typing import Final

BUNDLE_FOLDER: Final = "bundle"
"""A bundle's folder, in a training run and among the artifacts of a model version."""
