"""What each error of the transactional producer demands: one row per row of the measured table."""

import pytest

from processor.engine.kafka_errors import KafkaFailure, Remedy, Step, remedy_for

PLAIN = {"is_fatal": False, "is_retriable": False, "requires_abort": False}
ABORTABLE = {**PLAIN, "requires_abort": True}
FATAL = {**PLAIN, "is_fatal": True}
RETRIABLE = {**PLAIN, "is_retriable": True}

ROWS: list[tuple[Step, str, dict[str, bool], Remedy]] = [
    # The group moved on without us: what it does not accept is decided again.
    (Step.SEND_OFFSETS, "ILLEGAL_GENERATION", ABORTABLE, Remedy.ABORT),
    (Step.SEND_OFFSETS, "UNKNOWN_MEMBER_ID", ABORTABLE, Remedy.ABORT),
    (Step.SEND_OFFSETS, "FENCED_INSTANCE_ID", ABORTABLE, Remedy.ABORT),
    (Step.SEND_OFFSETS, "STALE_MEMBER_EPOCH", ABORTABLE, Remedy.ABORT),
    # The producer is fenced: final by name, although librdkafka flags it as abortable here.
    (Step.SEND_OFFSETS, "_FENCED", ABORTABLE, Remedy.REPLACE),
    (Step.SEND_OFFSETS, "_FENCED", FATAL, Remedy.REPLACE),
    # A commit that failed fatally may have succeeded.
    (Step.COMMIT, "_FENCED", FATAL, Remedy.READ_BACK),
    (Step.COMMIT, "_FENCED", ABORTABLE, Remedy.READ_BACK),
    (Step.COMMIT, "INVALID_TXN_STATE", FATAL, Remedy.READ_BACK),
    (Step.COMMIT, "UNKNOWN_PRODUCER_ID", ABORTABLE, Remedy.ABORT),
    (Step.COMMIT, "TRANSACTION_ABORTABLE", ABORTABLE, Remedy.ABORT),
    (Step.COMMIT, "MSG_SIZE_TOO_LARGE", ABORTABLE, Remedy.ABORT),
    # Unreachable, or our own limit: an abort would answer _CONFLICT.
    (Step.COMMIT, "_TIMED_OUT", RETRIABLE, Remedy.READ_BACK),
    (Step.COMMIT, "_TRANSPORT", RETRIABLE, Remedy.READ_BACK),
    (Step.COMMIT, "_STATE", PLAIN, Remedy.READ_BACK),
    (Step.PRODUCE, "INVALID_PRODUCER_EPOCH", FATAL, Remedy.REPLACE),
    (Step.PRODUCE, "OUT_OF_ORDER_SEQUENCE_NUMBER", FATAL, Remedy.REPLACE),
    (Step.PRODUCE, "MSG_SIZE_TOO_LARGE", ABORTABLE, Remedy.ABORT),
    (Step.SEND_OFFSETS, "INVALID_TXN_STATE", FATAL, Remedy.REPLACE),  # AddPartitions
    # Before the commit nothing can be committed, so a time-out there is simply aborted.
    (Step.SEND_OFFSETS, "_TIMED_OUT", RETRIABLE, Remedy.ABORT),
    # No flag at all: fatal, by librdkafka's own advice.
    (Step.BEGIN, "_STATE", PLAIN, Remedy.REPLACE),
    (Step.PRODUCE, "_UNKNOWN", PLAIN, Remedy.REPLACE),
    # An abort or an initialisation may simply be tried again.
    (Step.ABORT, "_TIMED_OUT", RETRIABLE, Remedy.RETRY),
    (Step.ABORT, "INVALID_TXN_STATE", FATAL, Remedy.REPLACE),
    (Step.ABORT, "_CONFLICT", PLAIN, Remedy.REPLACE),
    (Step.INIT, "_TIMED_OUT", RETRIABLE, Remedy.RETRY),
    (Step.INIT, "INVALID_PRODUCER_EPOCH", FATAL, Remedy.REPLACE),
]
REFUSED = [
    "CLUSTER_AUTHORIZATION_FAILED",
    "GROUP_AUTHORIZATION_FAILED",
    "INVALID_TRANSACTION_TIMEOUT",
    "TOPIC_AUTHORIZATION_FAILED",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "UNSUPPORTED_VERSION",
]


@pytest.mark.parametrize("step,name,flags,remedy", ROWS)
def test_an_error_demands_its_remedy(step: Step, name: str, flags: dict[str, bool], remedy: Remedy) -> None:
    """The table, row by row."""
    assert remedy_for(step, KafkaFailure(name, **flags)) is remedy


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("step", list(Step))
def test_what_no_retry_can_help_stops(step: Step, name: str) -> None:
    """A missing right or an old broker stops the process at every step, whatever the flags say."""
    for flags in (PLAIN, ABORTABLE, FATAL, RETRIABLE):
        assert remedy_for(step, KafkaFailure(name, **flags)) is Remedy.STOP


@pytest.mark.parametrize("is_fatal", [True, False])
@pytest.mark.parametrize("is_retriable", [True, False])
def test_a_failed_commit_is_aborted_only_when_the_client_demands_it(*, is_fatal: bool, is_retriable: bool) -> None:
    """Whatever else a failed commit says, its outcome is unknown: fatal never means "not committed"."""
    failure = KafkaFailure("_ANY", is_fatal=is_fatal, is_retriable=is_retriable, requires_abort=False)
    assert remedy_for(Step.COMMIT, failure) is Remedy.READ_BACK
