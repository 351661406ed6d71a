"""Which version stands for promotion."""

import pytest

from training.bundle.challenger import challenger_of
from training.bundle.versions import RegisteredVersion


@pytest.mark.parametrize(
    ("gates", "aliases", "expected"),
    [
        ([], {}, None),
        ([None], {}, "1"),
        ([None], {"champion": "1"}, None),
        (["promoted", None], {"champion": "1"}, "2"),
        (["promoted", "needs_human", "refused"], {"champion": "1"}, "2"),
        (["promoted", "refused"], {"champion": "1"}, None),
        (["promoted", "promoted"], {"champion": "1", "previous": "2"}, None),
        (["promoted", "promoted", None], {"champion": "1", "previous": "2"}, "3"),
        (["needs_human", "promoted"], {"champion": "2"}, None),
    ],
)
def test_it_is_the_newest_that_may_still_serve(
    gates: list[str | None], aliases: dict[str, str], expected: str | None
) -> None:
    versions = [
        RegisteredVersion(str(number), "digest", "run", {} if gate is None else {"gate": gate})
        for number, gate in enumerate(gates, start=1)
    ]
    assert challenger_of(versions, aliases, "champion") == expected
