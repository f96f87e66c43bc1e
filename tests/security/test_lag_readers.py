"""An autoscaler by lag that comes to the brokers as a role needs no right that the role has not."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from processor.adapters.acls import Grantee
from processor.kafka_config import client_config
from processor.settings_loading import load_settings
from tests.security.guarded import Guarded, guarded
from tests.support.secure_broker import Access, SecureBroker, Way
from tests.support.world import PARTITIONS

ANSWER_S = 5
NOT_SHOWN = "_UNKNOWN_PARTITION"  # The topic is there, but not for whoever may not describe it.
INPUTS = [
    (Grantee.SUBMITTER, "preparation", "requests"),
    (Grantee.SUBMITTER, "launch", "launches"),
    (Grantee.RECONCILER, "completion", "workflows"),
]


def lag(made: Guarded, access: Access, group: str, topic: str) -> int | str:
    """Ask what KEDA asks, and join nothing: where the partitions end, and what the group committed; or say why not."""
    settings = load_settings(made.world.environ | dict(access.environ))
    asking = Consumer({**client_config(settings, "scaler"), "group.id": group})
    parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    try:
        ends = [asking.get_watermark_offsets(part, ANSWER_S)[1] for part in parts]
        committed = asking.committed(parts, ANSWER_S)
    except KafkaException as error:
        return str(error.args[0].name())
    finally:
        asking.close()
    return sum(end - max(part.offset, 0) for part, end in zip(committed, ends, strict=True))


@pytest.mark.broker
def test_lag_is_read_with_the_rights_of_the_role(secure: SecureBroker, tmp_path: Path) -> None:
    """Of each group by the user of the workload that is scaled by it; somebody else's user is refused.

    A broker that has only just started, or has only just heard of a user, says other things first.
    """
    with guarded(secure, Way.SCRAM, tmp_path) as made:
        made.world.publish_bytes("k", b"a request")
        for role, decider, setting in INPUTS:
            group, topic = f"{made.world.application_id}.{decider}", made.world.topic(setting)
            for grantee, expected in ((role, int(setting == "requests")), (Grantee.CONSUMER, NOT_SHOWN)):
                access = made.user(grantee)
                made.world.wait_until(lambda: lag(made, access, group, topic) == expected, f"{grantee}: {expected}")  # noqa: B023  # asked here and now
