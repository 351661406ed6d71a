"""What stops `make setup`: one sentence and the command that mends it."""


class SetupError(Exception):
    """Something that the machine lacks; the text names it and what to do."""

    def __init__(self, lack: str, mend: str) -> None:
        super().__init__(f"{lack}\n  mend it with: {mend}")
