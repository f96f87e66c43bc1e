"""The least rights on a cluster with ACLs: one list, and the documents show it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from processor.adapters.acls import (
    COMMANDS,
    ROLES,
    WITHOUT_CATALOGUE,
    Acl,
    Grantee,
    Installation,
    Operation,
    Pattern,
    Resource,
    ResourceKind,
    acls_of,
    installation_of,
    kafka_acls_line,
)
from processor.core.catalogue import Catalogue, UnknownPolicy, Workflow
from processor.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "interfaces.md"
PLAIN = Installation(Settings(), ("onboarding.results",))
WITH_RERUN = Installation(Settings(application_id="APPLICATION"), ("onboarding.results",), has_rerun=True)
NOTHING = "\N{EN DASH}"
PREFIXED = "--resource-pattern-type prefixed"
KINDS = {ResourceKind.TOPIC: "", ResourceKind.GROUP: "group ", ResourceKind.TRANSACTIONAL_ID: "transactional ids "}


def granted(*grantees: Grantee, installation: Installation = PLAIN) -> dict[str, Sequence[Operation]]:
    """Return the operations of each name."""
    return {acl.resource.name: acl.operations for acl in acls_of(grantees, installation)}


def shown(resource: Resource) -> str:
    """Return how the page calls a resource."""
    beginning = "beginning with " if resource.pattern is Pattern.PREFIXED else ""
    return f"{KINDS[resource.kind]}{beginning}`{resource.name.replace('APPLICATION', '<id>')}`"


def role_rows() -> Iterator[str]:
    """Give the table of roles as the page shows it."""
    mine = {role: {acl.resource: acl for acl in acls_of([role], WITH_RERUN)} for role in ROLES}
    order = [*KINDS]
    resources = {resource for acls in mine.values() for resource in acls}
    for resource in sorted(resources, key=lambda one: (order.index(one.kind), "APPLICATION" in one.name, one.name)):
        cells = [", ".join(mine[role][resource].operations) if resource in mine[role] else NOTHING for role in ROLES]
        yield f"| {shown(resource)} | {' | '.join(cells)} |"


def command_rows() -> Iterator[str]:
    """Give the table of commands as the page shows it."""
    for grantee, commands in COMMANDS.items():
        names: dict[Sequence[Operation], list[str]] = {}
        for acl in acls_of([grantee], WITH_RERUN):
            names.setdefault(acl.operations, []).append(shown(acl.resource))
        rights = [
            "every topic" if Operation.CREATE in operations else ", ".join(each) for operations, each in names.items()
        ]
        cells = [f"{', '.join(operations)} on {what}" for operations, what in zip(names, rights, strict=True)]
        yield f"| `{grantee}` | {commands} | {'; '.join(cells)} |"


def test_the_page_of_interfaces_shows_the_least_rights() -> None:
    """Whoever grants by the page grants what the code says, no more and no less."""
    page = PAGE.read_text(encoding="utf-8")
    assert "\n".join(role_rows()) in page, "\n".join(role_rows())
    assert "\n".join(command_rows()) in page, "\n".join(command_rows())


def test_nothing_is_granted_that_another_right_implies() -> None:
    """Read, Write and Delete imply Describe at the broker, so beside them it would be one ACL too many."""
    acls = acls_of(Grantee, WITH_RERUN)
    implying = {Operation.READ, Operation.WRITE, Operation.DELETE}
    assert [acl for acl in acls if Operation.DESCRIBE in acl.operations and implying & set(acl.operations)] == []
    assert any(acl.operations == (Operation.DESCRIBE,) for acl in acls)


def test_no_role_sees_a_topic_with_which_it_does_nothing() -> None:
    """To find a topic that others write is no reason for a right on it: links are secrets."""
    described = (ResourceKind.TOPIC, (Operation.DESCRIBE,))
    assert [
        acl for role in ROLES for acl in acls_of([role], WITH_RERUN) if (acl.resource.kind, acl.operations) == described
    ] == []
    assert not {"onboarding.links", "onboarding.progress"} & granted(Grantee.RECONCILER).keys()


def test_one_principal_for_several_roles_has_each_resource_once() -> None:
    """A process with all roles needs the sum of their rights, merged."""
    together = acls_of(ROLES, PLAIN)
    assert len({acl.resource for acl in together}) == len(together)
    assert granted(*ROLES)["onboarding.workflows"] == (Operation.READ, Operation.WRITE, Operation.DELETE)
    assert granted(Grantee.INGESTOR)["onboarding.workflows"] == (Operation.WRITE,)


def test_the_group_of_another_decider_is_described_only_where_runs_are_repeated() -> None:
    """Marks of completion are read before a run is repeated, and by nobody else."""
    assert "onboarding.completion" not in granted(Grantee.SUBMITTER)
    assert granted(Grantee.SUBMITTER, installation=WITH_RERUN)["APPLICATION.completion"] == (Operation.DESCRIBE,)


def test_every_results_topic_of_the_catalogue_is_written_and_read() -> None:
    """A workflow with a topic of its own is not forgotten."""
    other = Workflow(name="w", definition="d", results_topic="other.results", unknown_policy=UnknownPolicy.RERUN)
    installation = installation_of(Settings(), Catalogue({"w": other}))
    assert installation.has_rerun
    assert granted(Grantee.RECONCILER, installation=installation)["other.results"] == (Operation.WRITE,)
    assert granted(Grantee.CONSUMER, installation=installation)["other.results"] == (Operation.READ,)
    assert "onboarding.results" in granted(Grantee.SUBMITTER, installation=installation)


@pytest.mark.parametrize(
    "acl,line",
    [
        (
            Acl(Resource(ResourceKind.TOPIC, "t"), (Operation.READ, Operation.DELETE)),
            "--add --allow-principal 'User:CN=a b' --operation Read --operation Delete --topic t",
        ),
        (
            Acl(Resource(ResourceKind.TRANSACTIONAL_ID, "a.", Pattern.PREFIXED), (Operation.WRITE,)),
            "--add --allow-principal 'User:CN=a b' --operation Write --transactional-id a. " + PREFIXED,
        ),
        (
            Acl(Resource(ResourceKind.GROUP, "a.launch"), (Operation.READ,)),
            "--add --allow-principal 'User:CN=a b' --operation Read --group a.launch",
        ),
    ],
)
def test_an_acl_is_a_command_of_kafkas_own_tool(acl: Acl, line: str) -> None:
    """What is printed can be pasted into a shell, whatever the principal's name holds."""
    begin = "kafka-acls.sh --bootstrap-server b:9092 --command-config admin.properties "
    assert kafka_acls_line(acl, "User:CN=a b", "b:9092") == begin + line


@pytest.mark.parametrize("grantee", Grantee)
def test_who_needs_a_catalogue_is_known(grantee: Grantee) -> None:
    """Rights differ by it for these, and for no others."""
    settings = Settings()
    named = Installation(settings, (settings.topics.results, "identity.results"), has_rerun=True)
    assert (acls_of([grantee], Installation(settings)) == acls_of([grantee], named)) == (grantee in WITHOUT_CATALOGUE)
