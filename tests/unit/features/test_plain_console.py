"""What data hold is printed as it is, wherever a command prints it."""

from datetime import UTC, datetime

import pytest

from features.admin.dead_letters import Letter
from features.cli import dead_letters
from features.cli.plain import plain_console

TEXTS = ["[/b]", "[red]x", "topic[2]@7", ":apple:", "\\[a]", "[link=x]"]


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_in_a_text_is_markup(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    plain_console().print(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_messages_of_dead_letters_are_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    dead_letters._print(  # what `dead-letters list` prints
        [
            Letter(number, "interaction_events", 0, number, "unknown", text, at, at, None, None, None, None, "open")
            for number, text in enumerate(TEXTS)
        ]
    )
    printed = capsys.readouterr().out
    assert [text for text in TEXTS if text in printed] == TEXTS
