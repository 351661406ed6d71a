"""Reading ahead: what ends its thread is heard of, whenever it ends."""

import threading

import pytest
from pydantic import SecretStr

from features.landing.ahead import ReadAhead
from features.landing.placing import HaltedError
from features.landing.reader import Reader
from features.landing.sessions import Session
from features.patience import Patience
from features.settings import Settings


def test_what_ended_the_thread_between_two_batches_is_raised() -> None:
    def refuse() -> Reader:
        raise HaltedError("stopped")

    session = Session(Settings(database_url=SecretStr("")), "never opened")
    ahead = ReadAhead(refuse, session, {}, Patience(threading.Event()), until_caught_up=True)
    ahead.start()
    ahead.join(timeout_s=10)  # as if the last batch had been waited for in vain just before

    assert not ahead.ended
    with pytest.raises(HaltedError, match="stopped"):
        ahead.take(timeout_s=0)
