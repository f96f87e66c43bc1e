"""Which partitions wait for the end of a transaction of ours, and with what it is ended there."""

from collections.abc import Collection, Mapping, Sequence

import pytest
from confluent_kafka import TopicPartition

from processor.adapters.lost_markers import Ended, Mending, Place, Placed, judge, waiting
from processor.engine.ports import Outcome, OutputRecord
from processor.errors import BrokerUnavailable

STATE, RESULTS = "state", "results"


def placed(topic: str, partition: int, offset: int, key: bytes = b"key") -> Placed:
    """Return a record that the broker confirmed; where results go is the partitioner's choice."""
    wanted = partition if topic == STATE else None
    return Placed(OutputRecord(topic, key, b"value", partition=wanted), partition, offset)


A_CHANGE, A_POSITION = placed(STATE, 1, 20), placed(STATE, 1, 21, b"position")
A_RESULT, ANOTHER = placed(RESULTS, 4, 7, b"one"), placed(RESULTS, 4, 8, b"two")
ELSEWHERE = placed(RESULTS, 5, 3, b"three")
OFFSETS = [TopicPartition("input", 1, 100), TopicPartition("input", 2, 200)]
SENT = (A_CHANGE, A_POSITION, A_RESULT, ANOTHER, ELSEWHERE)
EVERYWHERE = {(STATE, 1): 20, (RESULTS, 4): 7, (RESULTS, 5): 3}
NOWHERE = {(STATE, 1): 23, (RESULTS, 4): 10, (RESULTS, 5): 5}


def ended(outcome: Outcome) -> Ended:
    """Return a transaction with one partition of state and two of results."""
    return Ended(outcome, SENT, OFFSETS)


def test_a_partition_waits_for_us_when_it_stands_still_at_our_first_record() -> None:
    """Further on, it has our end; before that, somebody else's transaction is open; what is gone waits no more."""
    firsts = ended(Outcome.COMMITTED).firsts()
    assert firsts == EVERYWHERE
    assert waiting(firsts, {(STATE, 1): 20, (RESULTS, 4): 9}) == {(STATE, 1)}
    assert waiting(firsts, {(STATE, 1): 19}) == set()


@pytest.mark.parametrize("outcome", Outcome)
def test_where_every_end_stands_nothing_is_done(outcome: Outcome) -> None:
    """That is what follows most lost connections."""
    verdict = judge(ended(outcome), NOWHERE, STATE)
    assert (verdict.repair, verdict.doubtful) == (None, None)


def test_what_was_committed_is_sent_again_where_it_hangs_and_only_there() -> None:
    """Of results the first copy is aborted; state is written over, with the offsets of its partitions."""
    verdict = judge(ended(Outcome.COMMITTED), {**NOWHERE, (STATE, 1): 20, (RESULTS, 4): 7}, STATE)
    assert verdict.repair is not None
    assert verdict.repair.aborted == [A_RESULT]
    assert verdict.repair.committed == [each.copy for each in (A_CHANGE, A_POSITION, A_RESULT, ANOTHER)]
    assert verdict.repair.committed[2].partition == 4, "where the first copy lies"
    assert verdict.repair.offsets == OFFSETS[:1]


def test_offsets_are_sent_again_only_beside_their_state() -> None:
    """Where the state has its end, the partition may have a new owner by now, whose offsets ours would replace."""
    verdict = judge(ended(Outcome.COMMITTED), {**NOWHERE, (RESULTS, 5): 3}, STATE)
    assert verdict.repair is not None
    assert verdict.repair.offsets == []


def test_what_was_aborted_is_aborted_where_it_hangs() -> None:
    """Else the next commit of the same producer would commit it as well."""
    verdict = judge(ended(Outcome.ABORTED), {**NOWHERE, (RESULTS, 4): 7}, STATE)
    assert verdict.repair is not None
    assert (verdict.repair.aborted, verdict.repair.committed) == ([A_RESULT], ())
    assert verdict.repair.offsets == OFFSETS


def test_what_nobody_knows_is_aborted_when_it_hangs_everywhere() -> None:
    """Then it is aborted as a whole. Where it has an end in part, it is left as it is: that may be the other one."""
    verdict = judge(ended(Outcome.UNKNOWN), EVERYWHERE, STATE)
    assert verdict.repair is not None
    assert (verdict.repair.aborted, verdict.repair.committed) == ([A_CHANGE, A_RESULT, ELSEWHERE][::-1], ())
    for place in EVERYWHERE:
        verdict = judge(ended(Outcome.UNKNOWN), {**EVERYWHERE, place: NOWHERE[place]}, STATE)
        assert (verdict.repair, verdict.doubtful) == (None, None)


@pytest.mark.parametrize("outcome", Outcome)
def test_behind_the_open_transaction_of_somebody_else_nothing_is_told_yet(outcome: Outcome) -> None:
    """The rest is ended; what is unknown waits whole."""
    verdict = judge(ended(outcome), {**EVERYWHERE, (RESULTS, 4): 2}, STATE)
    assert verdict.doubtful is not None
    if outcome is Outcome.UNKNOWN:
        assert (verdict.repair, verdict.doubtful) == (None, ended(outcome))
    else:
        assert verdict.repair is not None
        assert {each.place for each in verdict.repair.aborted} <= {(STATE, 1), (RESULTS, 5)}
        assert verdict.doubtful == Ended(outcome, [A_RESULT, ANOTHER], OFFSETS)


class Log:
    """Partitions with their stable ends, in which transactions end; the first so many calls fail."""

    def __init__(self, stable_ends: Mapping[Place, int], failures: int = 0) -> None:
        self.stable_ends = dict(stable_ends)
        self.failures = failures
        self.committed: list[OutputRecord] = []
        self.aborted: list[OutputRecord] = []
        self.looks = 0

    def ends(self, places: Collection[Place]) -> Mapping[Place, int]:
        """Return where these end."""
        self.looks += 1
        return {place: self.stable_ends[place] for place in places}

    def abort(self, records: Sequence[OutputRecord], offsets: Sequence[TopicPartition]) -> Ended:
        """End what hangs in these partitions."""
        return self._end(self.aborted, records, offsets)

    def commit(self, records: Sequence[OutputRecord], offsets: Sequence[TopicPartition]) -> Ended:
        """End what hangs in these partitions."""
        return self._end(self.committed, records, offsets)

    def _end(
        self, into: list[OutputRecord], records: Sequence[OutputRecord], offsets: Sequence[TopicPartition]
    ) -> Ended:
        if self.failures:
            self.failures -= 1
            raise BrokerUnavailable("away")
        into.extend(records)
        self.stable_ends |= {(each.topic, each.partition or 0): 1_000 for each in records}
        return Ended(Outcome.COMMITTED, [Placed(each, each.partition or 0, 900) for each in records], offsets)


def pursued(mending: Mending, log: Log) -> None:
    """Go on until it is over, whatever fails meanwhile."""
    for _ in range(10):
        try:
            mending.go_on(log.commit, log.abort)
        except BrokerUnavailable:
            continue
        if mending.is_over:
            return
    pytest.fail("it does not come to an end")


@pytest.mark.parametrize("failures", range(4))
def test_each_record_is_sent_again_once_whatever_fails_meanwhile(failures: int) -> None:
    """A try that broke off goes on where it was: what was aborted by then is not taken for ended."""
    log = Log(EVERYWHERE, failures)
    mending = Mending(log.ends, STATE, "input")
    mending.doubt(ended(Outcome.COMMITTED))
    pursued(mending, log)
    assert sorted(log.committed) == sorted(each.copy for each in SENT)
    assert {each.topic for each in log.aborted} == {RESULTS}


def test_a_transaction_behind_another_is_ended_when_that_one_is() -> None:
    """Until then others are not held up."""
    log = Log({**NOWHERE, (RESULTS, 4): 2})
    mending = Mending(log.ends, STATE, "input")
    mending.doubt(ended(Outcome.COMMITTED))
    mending.go_on(log.commit, log.abort)
    assert (mending.is_over, log.committed) == (False, [])
    log.stable_ends[RESULTS, 4] = 7
    pursued(mending, log)
    assert log.committed == [A_RESULT.copy, ANOTHER.copy]


def test_only_so_many_are_remembered() -> None:
    """The oldest are given up."""
    log = Log({**NOWHERE, (RESULTS, 4): 2})
    mending = Mending(log.ends, STATE, "input")
    for _ in range(100):
        mending.doubt(ended(Outcome.COMMITTED))
    mending.go_on(log.commit, log.abort)
    assert log.looks == 10
