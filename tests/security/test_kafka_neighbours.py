"""Two deployments on one cluster, apart by their application ids and rights: each serves its own, nothing crosses."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from processor.adapters.acls import ROLES, ResourceKind, acls_of
from processor.adapters.rights import missing_rights
from processor.kafka_config import client_config
from processor.settings_loading import load_settings
from tests.security.guarded import Guarded, guarded
from tests.support.events import register
from tests.support.onboarding import Request
from tests.support.secure_broker import SecureBroker, Way
from tests.support.topics import make_topic
from tests.support.world import PARTITIONS

pytestmark = [pytest.mark.broker, pytest.mark.slow]

REQUESTS = 12
ANSWER_S = 10
ASKED_OF = {ResourceKind.TOPIC, ResourceKind.GROUP}  # What a broker tells rights on.


@contextmanager
def two(secure: SecureBroker, directory: Path, requests_topic: str | None = None) -> Iterator[tuple[Guarded, Guarded]]:
    """Run two deployments, each in one process and as one principal with the rights of all roles."""
    settings = {} if requests_topic is None else {"PROCESSOR_TOPICS__REQUESTS": requests_topic}
    with ExitStack() as stack:
        made = []
        for name in ("first", "second"):
            (directory / name).mkdir()
            made.append(stack.enter_context(guarded(secure, Way.SCRAM, directory / name, settings=settings)))
        for each in made:
            each.start_as_one()
        yield made[0], made[1]


def results_of(made: Guarded, request_ids: list[str]) -> dict[str, str]:
    """Wait until a deployment has ended these requests; return every outcome that it published."""
    wanted = set(request_ids)
    made.world.wait_until(lambda: wanted <= {one["requestId"] for one in made.world.results()}, "all results", 60)
    results = made.world.results()
    assert len(results) == len({one["requestId"] for one in results})
    return {one["requestId"]: one["outcome"] for one in results}


def assert_nothing_crossed(secure: SecureBroker, first: Guarded, second: Guarded) -> None:
    """Neither asked the broker for anything that is the other's alone."""
    for made, other in ((first, second), (second, first)):
        asked = secure.asked(made.everyone)
        assert [one for one in asked if not one.is_allowed] == []
        assert [one for one in asked if one.name.startswith(other.world.application_id)] == []


def test_each_serves_its_own_requests(secure: SecureBroker, tmp_path: Path) -> None:
    """The same request ids and keys at the same time: two requests, two runs, two results, each where it belongs."""
    request_ids = [f"r-{number}" for number in range(REQUESTS)]
    with two(secure, tmp_path) as (first, second):
        for made in (first, second):
            made.world.publish(*(Request(request_id, "the-same-key") for request_id in request_ids))
        for made in (first, second):
            assert results_of(made, request_ids) == dict.fromkeys(request_ids, "COMPLETED")
            assert len(made.world.provider.runs()) == REQUESTS
        assert_nothing_crossed(secure, first, second)


def test_both_read_one_topic_of_requests(secure: SecureBroker, tmp_path: Path) -> None:
    """A shared topic is read by both, each in a group of its own: each runs every request once at its own provider."""
    topic = make_topic(secure.bootstrap_servers, f"shared-{tmp_path.name}", PARTITIONS)
    request_ids = [f"r-{number}" for number in range(REQUESTS)]
    with two(secure, tmp_path, topic) as (first, second):
        # Both registries began alike, so the schema has one id in both.
        register(second.world.environ["PROCESSOR_SCHEMA_REGISTRY__URL"], topic, "OnboardingRequested")
        for request_id in request_ids:
            first.world.publish_to(topic, Request(request_id))
        for made in (first, second):
            assert results_of(made, request_ids) == dict.fromkeys(request_ids, "COMPLETED")
            assert len(made.world.provider.runs()) == REQUESTS
        assert_nothing_crossed(secure, first, second)


def test_neither_can_touch_what_is_the_others(secure: SecureBroker, tmp_path: Path) -> None:
    """Whoever has all rights of one deployment has none on the topics and groups of the other."""
    with two(secure, tmp_path) as (first, second):
        for made, other in ((first, second), (second, first)):
            assert rights_missing(made, made) == []
            theirs = [acl for acl in acls_of(ROLES, other.installation) if acl.resource.kind in ASKED_OF]
            assert len(rights_missing(made, other)) == sum(len(set(acl.operations) - {"Delete"}) for acl in theirs)
            with pytest.raises(KafkaException, match="TRANSACTIONAL_ID_AUTHORIZATION_FAILED"):
                transacting(made, other)


def rights_missing(made: Guarded, other: Guarded) -> list[str]:
    """Ask the broker, as one deployment, for the rights that another one has."""
    settings = load_settings(made.world.environ | dict(made.everyone.environ))
    admin = AdminClient(client_config(settings, "asks"))
    return missing_rights(admin, acls_of(ROLES, other.installation), ANSWER_S)


def transacting(made: Guarded, other: Guarded) -> None:
    """Begin as one deployment to take over a decider of another one."""
    settings = load_settings(made.world.environ | dict(made.everyone.environ))
    identity = f"{other.world.application_id}.launch.taken-over"
    Producer(client_config(settings, "asks") | {"transactional.id": identity}).init_transactions(ANSWER_S)
