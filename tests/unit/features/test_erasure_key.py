"""The digests by which erased users are known."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts.erasure import ErasureSecretError, secret_check, user_key


@given(st.binary(min_size=1), st.text(min_size=1, max_size=256))
def test_a_key_is_the_keyed_digest_of_the_id(secret: bytes, user_id: str) -> None:
    key = user_key(secret, user_id)
    assert key == hmac.new(secret, user_id.encode(), hashlib.sha256).digest()
    assert len(key) == 32


def test_another_secret_gives_other_keys_and_is_told_apart() -> None:
    assert user_key(b"a", "u1") != user_key(b"b", "u1")
    assert secret_check(b"a") != secret_check(b"b")
    assert len(secret_check(b"a")) == 16


def test_without_a_secret_nobody_is_known() -> None:
    with pytest.raises(ErasureSecretError, match="MARQUEE_ERASURE_SECRET"):
        user_key(b"", "u1")
