"""`processor topics`: creates what is missing, checks what is there, says which rights are needed."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from processor.adapters.acls import (
    ROLES,
    WITHOUT_CATALOGUE,
    Acl,
    Grantee,
    Installation,
    Pattern,
    acls_of,
    installation_of,
    kafka_acls_line,
)
from processor.adapters.catalogue_file import catalogue_of
from processor.adapters.topic_rules import Grade, TopicFinding, judge, partitions_for
from processor.adapters.topic_specs import TopicSpec
from processor.adapters.topics import Made, TopicAdmin
from processor.cli.migrate import migrate, unseal
from processor.cli.options import AsJson, Brokers
from processor.cli.output import complain, say, say_json, say_table
from processor.cli.starting import overrides_of, settings_for, specs_for
from processor.kafka_config import client_config
from processor.settings import Settings
from processor.settings_loading import Need
from processor.wording import counted

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Create the topics that are missing, check those that are there, or say which rights users need.",
)
app.command(epilog="Example: processor topics migrate --to-application-id onboarding-24 --partitions 24")(migrate)
app.command(epilog="Example: processor topics unseal --yes")(unseal)
PRINCIPAL = re.compile(r"[A-Za-z]+:.")
FINDING_COLUMNS = ("topic", "grade", "finding", "what to do")


@app.command(epilog="Example: processor topics create --dry-run")
def create(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be created.")] = False,
    as_json: AsJson = False,
    bootstrap_servers: Brokers = None,
) -> None:
    """Create the topics that are missing, as the processor needs them; what exists is never altered."""
    settings = settings_for(Need.KAFKA, overrides=overrides_of(bootstrap_servers))
    specs, admin = specs_for(settings, catalogue_of(settings)), admin_for(settings)
    held = admin.held((spec.name for spec in specs), {})[1]
    missing = [spec for spec in specs if spec.name not in held]
    if dry_run:
        made = [Made(spec.name, partitions_for(spec, held), is_bare=False) for spec in missing]
    else:
        made = admin.create(missing, held)
    _tell_made(missing, made, dry_run=dry_run, as_json=as_json)


@app.command(epilog="Example: processor topics check --json")
def check(as_json: AsJson = False, bootstrap_servers: Brokers = None) -> None:
    """Say what is wrong with the topics; exit code 1 when something breaks a promise."""
    settings = settings_for(Need.KAFKA, overrides=overrides_of(bootstrap_servers))
    specs = specs_for(settings, catalogue_of(settings))
    findings = judge(specs, admin_for(settings).held((spec.name for spec in specs), settings.readers())[1])
    tell_findings(findings, as_json=as_json)
    if any(finding.grade is Grade.PROBLEM for finding in findings):
        raise typer.Exit(1)


@app.command(epilog="Example: processor topics acls submitter --user User:onboarding-submitter")
def acls(
    grantees: Annotated[
        list[Grantee] | None,
        typer.Argument(metavar="[WHO]...", help=f"What the user is: {', '.join(Grantee)}; all three roles by default."),
    ] = None,
    user: Annotated[str, typer.Option("--user", metavar="PRINCIPAL", help="Who is granted this.")] = "User:onboarding",
    as_json: AsJson = False,
    bootstrap_servers: Brokers = None,
) -> None:
    """Print the least rights that a user needs on a cluster with ACLs, as commands of Kafka's own kafka-acls.sh."""
    if not PRINCIPAL.match(user):
        raise typer.BadParameter("a principal has its type in front; write User:NAME", param_hint="--user")
    settings = settings_for(overrides=overrides_of(bootstrap_servers))
    asked = grantees or ROLES
    is_apart = WITHOUT_CATALOGUE.issuperset(asked)  # Who administers Kafka has no catalogue at hand.
    needed = acls_of(asked, Installation(settings) if is_apart else installation_of(settings, catalogue_of(settings)))
    if as_json:
        say_json({"principal": user, "acls": [acl_json(acl) for acl in needed]})
        return
    brokers = settings.kafka.bootstrap_servers or '"$BOOTSTRAP_SERVERS"'
    for acl in needed:
        say(kafka_acls_line(acl, user, brokers))


def acl_json(acl: Acl) -> Mapping[str, object]:
    """Return an ACL for programs, in the words of a Strimzi KafkaUser."""
    resource = acl.resource
    pattern = "prefix" if resource.pattern is Pattern.PREFIXED else "literal"
    return {
        "resource": {"type": resource.kind, "name": resource.name, "patternType": pattern},
        "operations": [*acl.operations],
    }


def admin_for(settings: Settings) -> TopicAdmin:
    """Return the administration of the cluster's topics."""
    return TopicAdmin(client_config(settings, "command"), settings.kafka.operation_timeout_s)


def tell_findings(findings: Sequence[TopicFinding], *, as_json: bool) -> None:
    """Print findings."""
    if as_json:
        say_json({"findings": [finding_json(finding) for finding in findings]})
        return
    say_table(FINDING_COLUMNS, [(found.topic, found.grade, found.text, found.remedy) for found in findings])


def finding_json(finding: TopicFinding) -> Mapping[str, str]:
    """Return a finding for programs."""
    return {"topic": finding.topic, "grade": finding.grade, "finding": finding.text, "remedy": finding.remedy}


def _tell_made(specs: Sequence[TopicSpec], made: Sequence[Made], *, dry_run: bool, as_json: bool) -> None:
    by_name = {spec.name: spec for spec in specs}
    if as_json:
        rows = [
            {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": by_name[topic.name].replication_factor,
                "config": dict(by_name[topic.name].essential if topic.is_bare else by_name[topic.name].config),
            }
            for topic in made
        ]
        say_json({"wouldCreate" if dry_run else "created": rows})
        return
    if not made:
        say("every topic exists; `processor topics check` says whether they are as they should be")
        return
    say(f"{'would create' if dry_run else 'created'} {counted(len(made), 'topic')}:")
    say_table(
        ("topic", "partitions", "replicas", "cleanup.policy"),
        [
            (
                topic.name,
                topic.partitions,
                by_name[topic.name].replication_factor,
                by_name[topic.name].config["cleanup.policy"],
            )
            for topic in made
        ],
    )
    for topic in made:
        if topic.is_bare:
            complain(f"{topic.name}: the cluster does not let every setting be chosen; see `processor topics check`")
