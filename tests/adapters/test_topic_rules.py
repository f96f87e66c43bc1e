"""What a cluster's topics must be like, as tables."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from processor.adapters.topic_rules import Grade, HeldTopic, judge, partitions_for
from processor.adapters.topic_specs import Use, subjects_of, topic_specs
from processor.settings import Settings

SETTINGS = Settings.model_validate({"application_id": "app", "topics": {"partitions": 4}})
SPECS = {spec.name: spec for spec in topic_specs(SETTINGS.topics, ["other.results"])}
STATE, INPUT, REQUESTS, RESULTS = "app.launch-state", "app.launches", "onboarding.requests", "onboarding.results"


def as_created() -> dict[str, HeldTopic]:
    """Return every topic as `topics create` makes it."""
    return {
        spec.name: HeldTopic(spec.name, spec.partitions, spec.replication_factor, spec.config)
        for spec in SPECS.values()
    }


def grades(held: Mapping[str, HeldTopic], topic: str) -> list[Grade]:
    """Return the grades of what is found about one topic."""
    return [found.grade for found in judge(tuple(SPECS.values()), held) if found.topic == topic]


def with_config(topic: str, **config: str) -> dict[str, HeldTopic]:
    """Return all topics as created, but one of them with another configuration."""
    held = as_created()
    changed = {name.replace("_", "."): value for name, value in config.items()}
    held[topic] = replace(held[topic], config={**(held[topic].config or {}), **changed})
    return held


def test_what_create_makes_is_what_check_wants() -> None:
    """A topic that we created has no finding against it."""
    found = judge(tuple(SPECS.values()), as_created())
    assert [(each.topic, each.grade) for each in found] == [(name, Grade.GOOD) for name in SPECS]


@pytest.mark.parametrize("before,grade", [(None, Grade.GOOD), (4, Grade.GOOD), (2, Grade.PROBLEM)])
def test_partitions_that_were_added_since_it_was_read_are_a_problem(before: int | None, grade: Grade) -> None:
    """Whatever its state topic has: keyed state cannot follow."""
    held = as_created()
    held[REQUESTS] = replace(held[REQUESTS], partitions_before=before)
    assert grades(held, REQUESTS) == [grade]


@pytest.mark.parametrize(
    "topic,config,expected",
    [
        (STATE, {"cleanup_policy": "delete"}, Grade.PROBLEM),
        (STATE, {"cleanup_policy": "compact,delete"}, Grade.PROBLEM),
        (STATE, {"delete_retention_ms": "86400000"}, Grade.PROBLEM),
        (STATE, {"delete_retention_ms": "604800000"}, Grade.GOOD),
        (STATE, {"segment_ms": "604800000"}, Grade.WARNING),
        (STATE, {"min_cleanable_dirty_ratio": "0.5", "max_compaction_lag_ms": "9223372036854775807"}, Grade.WARNING),
        (STATE, {"max_message_bytes": "999999"}, Grade.PROBLEM),
        (STATE, {"max_message_bytes": "1000000"}, Grade.GOOD),
        ("app.control", {"cleanup_policy": "delete"}, Grade.PROBLEM),
        (INPUT, {"retention_ms": "604800000"}, Grade.PROBLEM),
        (INPUT, {"retention_ms": "2592000000"}, Grade.WARNING),
        (INPUT, {"retention_bytes": "1000000000"}, Grade.PROBLEM),
        (INPUT, {"cleanup_policy": "compact"}, Grade.PROBLEM),
        (INPUT, {"min_insync_replicas": "1"}, Grade.WARNING),
        (INPUT, {"min_insync_replicas": "4"}, Grade.PROBLEM),
        (INPUT, {"unclean_leader_election_enable": "true"}, Grade.PROBLEM),
        (REQUESTS, {"cleanup_policy": "compact"}, Grade.PROBLEM),
        (REQUESTS, {"retention_ms": "3600000"}, Grade.GOOD),
        (REQUESTS, {"message_timestamp_type": "CreateTime"}, Grade.WARNING),
        (REQUESTS, {"max_message_bytes": "300000"}, Grade.GOOD),
        (REQUESTS, {"max_message_bytes": "5000000"}, Grade.WARNING),
        (RESULTS, {"cleanup_policy": "compact"}, Grade.WARNING),
        (RESULTS, {"retention_ms": "3600000"}, Grade.GOOD),
        (RESULTS, {"max_message_bytes": "500000"}, Grade.PROBLEM),
        ("onboarding.dead-letters", {"cleanup_policy": "compact"}, Grade.PROBLEM),
    ],
)
def test_a_configuration_is_a_problem_when_it_breaks_a_promise(
    topic: str, config: Mapping[str, str], expected: Grade
) -> None:
    """What loses records, state or room for them is a problem; what costs speed or comfort is a warning."""
    assert grades(with_config(topic, **config), topic) == [expected]


def test_a_missing_topic_is_a_problem_with_its_remedy() -> None:
    """The remedy of a topic that is not there is the command that makes it."""
    held = as_created()
    del held[INPUT]
    (found,) = [each for each in judge(tuple(SPECS.values()), held) if each.topic == INPUT]
    assert (found.grade, found.remedy) == (Grade.PROBLEM, "run `processor topics create`")


def test_state_has_as_many_partitions_as_its_input() -> None:
    """State partition N belongs to input partition N, so another count is a problem, and is never created."""
    held = as_created()
    held[REQUESTS] = replace(held[REQUESTS], partitions=6)
    assert grades(held, "app.preparation-state") == [Grade.PROBLEM]
    assert grades(held, REQUESTS) == [Grade.GOOD]
    assert partitions_for(SPECS["app.preparation-state"], held) == 6
    assert partitions_for(SPECS["app.preparation-state"], {}) == 4


def test_fewer_replicas_than_wished_for_are_a_warning() -> None:
    """How many replicas there are is the operator's choice."""
    held = as_created()
    held[RESULTS] = replace(held[RESULTS], replicas=2)
    assert grades(held, RESULTS) == [Grade.WARNING]


def test_a_configuration_that_may_not_be_read_is_said() -> None:
    """Silence about a topic would pass for a good one."""
    held = as_created()
    held[STATE] = replace(held[STATE], config=None)
    assert grades(held, STATE) == [Grade.WARNING]


def test_an_unknown_configuration_is_not_judged() -> None:
    """A managed cluster may hide settings; what it does not tell says nothing."""
    held = as_created()
    held[STATE] = replace(held[STATE], config={})
    assert grades(held, STATE) == [Grade.GOOD]


def test_only_public_topics_have_subjects() -> None:
    """Requests, results of every workflow, links and progress are contracts; what is internal is not."""
    assert subjects_of(SPECS.values()) == {
        REQUESTS: "OnboardingRequested",
        RESULTS: "OnboardingFinished",
        "other.results": "OnboardingFinished",
        "onboarding.links": "OnboardingLinkIssued",
        "onboarding.progress": "OnboardingProgressed",
    }


def test_custody_is_never_kept_by_time() -> None:
    """Internal inputs are purged by their reader alone."""
    custody = [spec for spec in SPECS.values() if spec.use is Use.CUSTODY]
    assert {spec.essential["retention.ms"] for spec in custody} == {"-1"}
    assert [spec.name for spec in custody] == [INPUT, "app.workflows"]
