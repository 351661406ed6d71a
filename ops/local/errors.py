"""Errors of running the stack on one machine."""

from features.contracts.errors import MarqueeError


class StackError(MarqueeError):
    """The stack cannot do what was asked; the text names the process, port or file and the way out."""


class NotReadyError(MarqueeError):
    """A service does not answer as it should yet; the text says what was seen."""
