"""``python -m serving``: the API server."""

from serving.threads import pin_threads
from training.bundle.lean import leave_out_conveniences

pin_threads()
leave_out_conveniences()

from serving.command import app  # noqa: E402  # NumPy and LightGBM look around when they are imported

app()
