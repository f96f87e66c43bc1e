"""Loopback ports for the servers that tests start, and for those that nobody shall answer at."""

import itertools
import random
import socket

# Below those that Linux gives to outgoing connections, of which one could take a port before its server does.
_PORTS = itertools.cycle(random.sample(range(12_000, 32_000), k=20_000))


def free_port() -> int:
    """Return a port that nobody listens on now, each time another."""
    return next(port for port in _PORTS if _can_be_had(port))


def _can_be_had(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
