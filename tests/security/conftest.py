"""The broker that trusts nobody: one start serves all tests."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.java import ServerFailed, ServerMissing
from tests.support.secure_broker import SecureBroker, secure_broker
from tests.support.servers import cannot_run


@pytest.fixture(scope="session")
def secure() -> Iterator[SecureBroker]:
    """Give a real broker with an authorizer and three ways in."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secure-kafka-")))
        try:
            running = stack.enter_context(secure_broker(directory))
        except (ServerMissing, ServerFailed) as missing:
            cannot_run(str(missing))
        yield running
