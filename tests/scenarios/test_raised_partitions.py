"""Partitions that were added to a keyed topic in place, which nobody should do and some tools do by themselves."""

from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from tests.support.onboarding import Request
from tests.support.world import PARTITIONS, world

pytestmark = pytest.mark.broker

REQUESTS = 20


def test_topics_that_were_raised_together_stop_everything_and_run_nothing_twice(
    bootstrap_servers: str, tmp_path: Path
) -> None:
    """Requests that come again go to partitions that know nothing of them; none of those is begun."""
    requests = [Request(f"r{number}", f"k{number}") for number in range(REQUESTS)]
    with world(bootstrap_servers, tmp_path) as made:
        worker = made.started()
        made.publish(*requests)
        made.wait_until(lambda: len(made.results()) == REQUESTS, "every result", 60)
        assert made.command("topics", "check").returncode == 0
        assert worker.terminate() == 0
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        raised = [NewPartitions(made.topic(name), 2 * PARTITIONS) for name in ("requests", "preparation-state")]
        for done in admin.create_partitions(raised).values():
            done.result(20)
        checked = made.command("topics", "check")
        assert (checked.returncode, f"had {PARTITIONS} when it was last read" in checked.stdout) == (1, True), checked
        made.publish(*requests)
        worker.start()
        why = f"has {2 * PARTITIONS} partitions but the state was written for {PARTITIONS}"
        made.wait_until(lambda: worker.log_tail(100_000).count(why) >= 2 * PARTITIONS, "all partitions stopped", 60)
        assert not worker.is_ready()
        assert len(made.results()) == REQUESTS
        assert all(len(made.provider.runs_of(request.request_id)) == 1 for request in requests)
