"""What polls that learn must save, on the simulation that the bench prints figures of."""

from dataclasses import replace

import pytest

from bench.polling import FIXED, Workload, figures
from processor.core.catalogue import PollPolicy

PLAIN = PollPolicy()
WORKLOAD = Workload(180, 0.3)  # Three minutes, more or less.

pytestmark = pytest.mark.slow


def test_healthy_webhooks_save_four_of_five_status_calls() -> None:
    """Against five seconds and against doubling, at the same delay: that of the webhook."""
    learnt = figures(WORKLOAD, PLAIN, is_learning=True)
    for policy in (FIXED, PLAIN):
        other = figures(WORKLOAD, policy)
        assert learnt.calls <= 0.2 * other.calls
        assert abs(learnt.delay_s - other.delay_s) < 0.2
    assert learnt.ended == 1


@pytest.mark.parametrize("lost", [0.02, 0.05])
def test_a_lost_webhook_is_found_within_two_poll_periods(lost: float) -> None:
    """A period is the wait between the two polls around the end; on average no later than by doubling waits."""
    workload = replace(WORKLOAD, lost=lost)
    learnt, doubling = figures(workload, PLAIN, is_learning=True), figures(workload, PLAIN)
    assert learnt.periods_max <= 2
    assert learnt.lost_delay_s < doubling.lost_delay_s
    assert learnt.ended == 1


@pytest.mark.parametrize("workload", [replace(WORKLOAD, lost=1, calls_s_max=1), replace(WORKLOAD, is_cut=True)])
def test_without_any_webhook_every_run_still_comes_to_its_end(workload: Workload) -> None:
    """Within the budget, and also where webhooks stop after they were healthy."""
    learnt = figures(workload, PLAIN, is_learning=True)
    assert learnt.ended == 1
    assert learnt.calls_s_busiest <= min(workload.calls_s_max, 5)
