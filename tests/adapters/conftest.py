"""What several tests of adapters are given."""

import pytest

from tests.adapters.http_adapters import ADAPTERS, Build


@pytest.fixture(params=ADAPTERS)
def build(request: pytest.FixtureRequest) -> Build:
    """Name each adapter in turn."""
    return ADAPTERS[request.param]
