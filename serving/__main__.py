"""``python -m serving``: the API server."""

from serving.threads import pin_threads

pin_threads()

from serving.command import app  # noqa: E402  # NumPy reads the variables when it is imported

app()
