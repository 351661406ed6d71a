"""A list of users to erase is read to the letter: whom it does not name is not erased."""

import io
import sys
from pathlib import Path

import pytest

from features.cli.erasure import read_ids

LISTED = [" bob", "ann\u2028carl", "x\ry", "tab\t", "z"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_ids_are_lines_to_the_letter_and_empty_lines_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    raw = end.join(["", *LISTED, "", ""]).encode()
    (file := tmp_path / "ids").write_bytes(raw)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    assert read_ids(str(file)) == LISTED
    assert read_ids("-") == LISTED
