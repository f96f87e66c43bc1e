"""The workflow catalogue: what a file may say, and what is refused with which words."""

import re
import tempfile
from pathlib import Path

import pytest

from processor.adapters.catalogue_file import fault_fingerprint, load_catalogue
from processor.core.catalogue import (
    FAILURE_WORDS,
    Adoption,
    Catalogue,
    Mode,
    PollPolicy,
    RecordTemplate,
    ResultShape,
    ResultSource,
    UnknownPolicy,
    Workflow,
)
from processor.core.model import DAY_MS, MINUTE_MS, SECOND_MS, ApiVersion
from processor.core.rendering import compile_templates
from processor.errors import SettingsInvalid

PROVIDERS = {"default": ApiVersion.RECORDS, "second": ApiVersion.TABLES}
EXAMPLE = Path(__file__).parent.parent.parent / "workflows.example.yaml"


def load(tmp_path: Path, text: str) -> Catalogue:
    file = tmp_path / "workflows.yaml"
    file.write_text(text, encoding="utf-8")
    return load_catalogue(file, providers=PROVIDERS)


def one(tmp_path: Path, *lines: str) -> Workflow:
    """Return the workflow `w` of a file with these lines below it."""
    return load(tmp_path, _file(*lines)).workflows["w"]


def refused(tmp_path: Path, text: str) -> list[str]:
    """Return the problems of a file, one a line."""
    with pytest.raises(SettingsInvalid) as caught:
        load(tmp_path, text)
    return str(caught.value).splitlines()


def _file(*lines: str) -> str:
    return "\n".join(["version: 1", "workflows:", "  w:", *(f"    {line}" for line in lines)]) + "\n"


def example(text: str = "") -> Catalogue:
    """Return the catalogue of the documents, or a changed one."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "workflows.yaml"
        file.write_text(text or EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
        return load_catalogue(file, providers=PROVIDERS, results_topic="results")


def test_the_example_says_what_its_comments_say() -> None:
    """The example of the documents is a catalogue that starts, and its templates compile."""
    catalogue = example()
    assert catalogue.workflows["person-check"] == Workflow(
        name="person-check",
        definition="3b2d8a4f-579f-4e2e-a51c-f859e532fe8c",
        record=RecordTemplate(
            "people",
            {"fullName": "subject.lastName", "email": "subject.email", "ref": "requestId"},
        ),
        parameters={"orderId": "attributes.orderId", "amount": "parameters.amount"},
        failure=frozenset({"FAILED", "REJECTED", "CANCELLED"}),
        decision_path="output.decision",
        deadline_ms=7 * DAY_MS,
        adoption_window_ms=15 * MINUTE_MS,
        poll=PollPolicy(5 * SECOND_MS, 5 * MINUTE_MS),
    )
    assert catalogue.workflows["company-check"].result_shape is ResultShape.SELECTED
    assert catalogue.workflows["company-check"].result_paths == ("output.decision", "output.score")
    assert catalogue.results_topic_of("company-check") == "onboarding.company-results"
    assert catalogue.results_topic_of("legacy-check") == "results"
    for workflow in catalogue.workflows.values():
        compile_templates(workflow)


@pytest.mark.parametrize(
    "name, said",
    [
        ("legacy-check", {"api": ApiVersion.CASES, "record": None, "deadline_ms": 2 * DAY_MS}),
        ("legacy-check", {"reuse_ms": 180 * DAY_MS, "is_exclusive": True, "result_source": ResultSource.CASE}),
        ("legacy-witness", {"reuse_ms": None, "case_workflow_path": "workflowId", "case_status_path": "status"}),
        ("known-case-check", {"is_case_given": True, "case": None, "reuse_ms": None, "adoption": Adoption.RECORD}),
        ("person-link", {"mode": Mode.LINK, "deadline_ms": 30 * DAY_MS, "locale": "en"}),
        ("person-mail", {"mode": Mode.LINK_SEND, "deadline_ms": 30 * DAY_MS, "email_path": "subject.email"}),
        ("person-widget", {"mode": Mode.TOKEN, "api": ApiVersion.RECORDS, "adoption": Adoption.RECORD}),
        ("account-check", {"api": ApiVersion.TABLES, "mode": Mode.RUN, "deadline_ms": 7 * DAY_MS}),
        ("account-link", {"api": ApiVersion.TABLES, "mode": Mode.LINK, "adoption": Adoption.NONE}),
        ("anonymous-check", {"adoption": Adoption.PARAMETERS, "record": None}),
        ("harmless-check", {"unknown_policy": UnknownPolicy.RERUN}),
        ("record-link", {"is_record_given": True, "is_exclusive": True, "is_newest_link": True}),
    ],
)
def test_every_kind_of_workflow_has_its_example(name: str, said: dict[str, object]) -> None:
    """One for each version and mode, and for each way in which a record or a run is found again."""
    workflow = example().workflows[name]
    assert {key: getattr(workflow, key) for key in said} == said


def test_the_example_of_another_workspace_wants_its_profile() -> None:
    """Without the comment signs it is a workflow of the second profile, in the version that this one speaks."""
    text = re.sub(r"(?m)^  #(second|  )", r"  \1", EXAMPLE.read_text(encoding="utf-8"))
    second = example(text).workflows["second-check"]
    assert (second.provider, second.api) == ("second", ApiVersion.TABLES)


def test_a_definition_is_enough(tmp_path: Path) -> None:
    """Without record and case there is nothing by which a lost run could be recognised."""
    assert one(tmp_path, "definition: d") == Workflow(name="w", definition="d", adoption=Adoption.NONE)
    assert one(tmp_path, "definition: d", "record: none", "case: none", "parameters: none").record is None


def test_the_default_version_of_the_api_is_that_of_the_profile(tmp_path: Path) -> None:
    """A workflow that names none takes it."""
    assert one(tmp_path, "definition: d").api is ApiVersion.RECORDS
    assert one(tmp_path, "definition: d", "provider: second").api is ApiVersion.TABLES
    assert one(tmp_path, "definition: d", "provider: second", "api: 2").api is ApiVersion.RECORDS


@pytest.mark.parametrize(
    "lines, reuse_ms",
    [
        (["api: 1", "case: {email: subject.email}"], 90 * DAY_MS),
        (["api: 1", "case: {email: subject.email}", "reuse: none"], None),
        (["api: 1", "case: {email: subject.email}", "reuse: 7d"], 7 * DAY_MS),
        (["api: 1", "case: given"], None),
        (["record: {table: t}"], None),
        (["record: {table: t}", "reuse: 7d"], 7 * DAY_MS),
    ],
)
def test_a_case_is_used_again_unless_the_catalogue_says_otherwise(
    tmp_path: Path, lines: list[str], reuse_ms: int | None
) -> None:
    """One case for a returning person is what the provider advises; a record is used again where it is wanted."""
    assert one(tmp_path, "definition: d", *lines).reuse_ms == reuse_ms


@pytest.mark.parametrize(
    "lines, deadline_ms",
    [
        (["mode: run"], 7 * DAY_MS),
        (["mode: link", "record: {table: t}"], 30 * DAY_MS),
        (["mode: token", "record: {table: t}"], 30 * DAY_MS),
        (["mode: link", "record: {table: t}", "deadline: 1d"], DAY_MS),
    ],
)
def test_end_users_have_30_days_unless_the_catalogue_says_otherwise(
    tmp_path: Path, lines: list[str], deadline_ms: int
) -> None:
    """People take their time; a run without them has 7 days."""
    assert one(tmp_path, "definition: d", *lines).deadline_ms == deadline_ms


@pytest.mark.parametrize(
    "lines, window_ms",
    [
        (["deadline: 2h"], 15 * MINUTE_MS),
        (["deadline: 20m"], 5 * MINUTE_MS),
        (["deadline: 20m", "unknown: {adoptionWindow: 19m}"], 19 * MINUTE_MS),
        (["deadline: 20m", "unknown: {policy: hold}"], 5 * MINUTE_MS),
    ],
)
def test_the_adoption_window_fits_into_a_short_deadline(tmp_path: Path, lines: list[str], window_ms: int) -> None:
    """Where none is written it is a quarter of the deadline, 15 minutes at most."""
    assert one(tmp_path, "definition: d", *lines).adoption_window_ms == window_ms


def test_nobody_shares_unless_the_catalogue_says_so(tmp_path: Path) -> None:
    """`exclusive` and `links` have defaults under which nothing is taken for ours without evidence."""
    plain = one(
        tmp_path,
        "definition: d",
        "record: given",
        "exclusive: false",
        "links: all",
        "mode: token",
        "adoption: none",
        "api: 3",
    )
    assert (plain.is_exclusive, plain.is_newest_link) == (False, False)


def test_status_words_are_compared_without_case(tmp_path: Path) -> None:
    """They are kept in capitals; a list that is absent keeps its default."""
    workflow = one(tmp_path, "definition: d", "statuses: {success: [Completed, done]}")
    assert workflow.success == frozenset({"COMPLETED", "DONE"})
    assert workflow.failure == FAILURE_WORDS


def test_anchors_spare_repeating(tmp_path: Path) -> None:
    """Own keys win over merged ones."""
    catalogue = load(
        tmp_path,
        "version: 1\nworkflows:\n  a: &a {definition: x, deadline: 1d}\n  b: {<<: *a, definition: y}\n",
    )
    assert {name: (found.definition, found.deadline_ms) for name, found in catalogue.workflows.items()} == {
        "a": ("x", DAY_MS),
        "b": ("y", DAY_MS),
    }


@pytest.mark.parametrize(
    "line, problem",
    [
        ("mode: lnk", "w.mode: 'lnk' is none of run, link, link-send, token; is link meant?"),
        ("mode: rum", "w.mode: 'rum' is none of run, link, link-send, token; is run meant?"),
        ("api: 4", "w.api: '4' is none of 1, 2, 3; write one of 1, 2, 3"),
        (
            "provider: third",
            "w.provider: no provider profile 'third' is set; write one of default, second, or set it",
        ),
        (
            "api: 1",
            "w.api: version 1 runs a workflow for a case; write `case:` with its members, `case: given`, or api 2",
        ),
        (
            "adoption: parameters",
            (
                "w.adoption: our own reference among its parameters tells a run; write one with the path reference, "
                "like `parameters: {ref: reference}`"
            ),
        ),
        (
            "mode: link",
            (
                "w.mode: a link of version 2 is for a record, else nobody can tell what it started; write `record:`, "
                "`record: given`, or api 3"
            ),
        ),
        (
            "exclusive: true",
            "w.exclusive: there is no record or case that could be shared; write one, or leave exclusive out",
        ),
        ("exclusive: maybe", "w.exclusive: this is either true or false; write one of them, without quotes"),
        ("links: newest", "w.links: mode run issues no links; leave it out, or write another mode"),
        ("links: oldest", "w.links: 'oldest' is none of newest, all; write one of newest, all"),
        (
            "reuse: 90d",
            "w.reuse: no record or case is made that could be used again; leave reuse out, or write how to make one",
        ),
        ("reuse: ever", "w.reuse: 'ever' is no duration; write a number above 0 and ms, s, m, h or d, like 15m"),
        ("locale: pt_BR", "w.locale: a locale is 2 to 35 of A-Z a-z 0-9 -; write it like en or pt-BR"),
        ("locale: no", "w.locale: YAML reads no as bool; quote it"),
        ("email: subject.mail", "w.email: path 'subject.mail': a request has no 'mail' there; did you mean email?"),
        ("result: {from: case}", "w.result: version 2 has no case to read a result from; write `from: workflow`"),
        ("caseRead: {workflowId: id}", "w.caseRead: version 2 has no cases; leave it out, or write api 1"),
        (
            "caseRead: {status: status}",
            "w.caseRead.workflowId: it is missing; write where the case shows the id of the workflow that ran",
        ),
        (
            "caseRead: {workflowId: a..b}",
            "w.caseRead.workflowId: path 'a..b' has an empty word; write one name between two dots",
        ),
        (
            "record: {table: t, columns: {ref: reference}}",
            (
                "w.record.columns.ref: path 'reference': our own reference names the record too, so it stands in "
                "parameters only, and as reference; was subject.reference meant?"
            ),
        ),
        ("case: given", "w.case: version 2 runs a workflow for a record; write `record:`, or api 1"),
        (
            "adoption: record",
            "w.adoption: no record or case is there by which a run could be told; write one, or `adoption: none`",
        ),
        ("unknown: {policy: repeat}", "w.unknown.policy: 'repeat' is none of hold, rerun; write one of hold, rerun"),
        (
            "unknown: {adoptionWindow: 7d}",
            "w.unknown: the adoption window must end before the deadline; lower adoptionWindow",
        ),
        ("deadline: soon", "w.deadline: 'soon' is no duration; write a number above 0 and ms, s, m, h or d, like 15m"),
        ("deadline: 0d", "w.deadline: '0d' is no duration; write a number above 0 and ms, s, m, h or d, like 15m"),
        ("deadline: 91d", "w.deadline: at most 90d, for no request lives longer; lower it"),
        ("deadlin: 7d", "w.deadlin: there is no such key; is deadline meant?"),
        ("case: {email: subject.email}", "w.case: version 2 runs a workflow for a record; write `record:`, or api 1"),
        ("record: people", "w.record: write given, none, or how it is made as `name: value` lines below it"),
        ("record: {columns: {}}", "w.record.table: it is missing; write the id of the provider's table"),
        (
            "record: {table: t, columns: {a: subject.lastNam}}",
            "w.record.columns.a: path 'subject.lastNam': a request has no 'lastNam' there; did you mean lastName?",
        ),
        (
            "record: {table: '../../etc'}",
            (
                "w.record.table: a table is one id of 1 to 200 printable characters, without / \\ ? # %; write the id "
                "of the provider's table"
            ),
        ),
        (
            "record: {table: t, columns: {'': requestId}}",
            ("w.record.columns.: the name before the colon is blank; write the provider's name, or leave the line out"),
        ),
        ("parameters: {a: [b]}", "w.parameters.a: this must be one value, no list or mapping"),
        ("parameters: {a: yes}", "w.parameters.a: YAML reads yes as bool; quote it"),
        (
            "statuses: {success: [REJECTED]}",
            "w.statuses: REJECTED is success and failure; write the other list without it",
        ),
        (
            "statuses: {success: []}",
            "w.statuses.success: without a success status nothing ever completes; write at least one",
        ),
        ("statuses: {success: DONE}", "w.statuses.success: this must be a list; write it like [one, two]"),
        (
            "result: {publish: selected}",
            "w.result.paths: publish: selected needs them; write like [output.decision, output.score]",
        ),
        (
            "result: {paths: [a]}",
            "w.result.paths: they are used with publish: selected only; write that, or leave them out",
        ),
        (
            "result: {decision: a..b}",
            "w.result.decision: path 'a..b' has an empty word; write one name between two dots",
        ),
        ("poll: {first: 10m}", "w.poll.first: the first wait is longer than the longest; lower first, or raise max"),
        ("resultsTopic: a/b", "w.resultsTopic: a topic is 1 to 249 of A-Z a-z 0-9 . _ -; rename it"),
        ("deadline: 1d\n    deadline: 2d", "w.deadline: this key stands here twice; leave one of them out"),
        ("<<: 3", "w: `<<` takes a mapping; write it like `<<: *anchor`"),
    ],
)
def test_what_a_workflow_may_not_say(tmp_path: Path, line: str, problem: str) -> None:
    """The problem names file, line, dotted name, what is wrong and what to write."""
    told = refused(tmp_path, _file("definition: d", line))
    assert any(text.startswith("workflows.yaml:") and text.endswith(f": workflows.{problem}") for text in told), told


@pytest.mark.parametrize("definition", ["''", "' '", '"\\t"'])
def test_a_blank_definition_is_none(tmp_path: Path, definition: str) -> None:
    """The provider would refuse each of its requests, one after the other."""
    assert refused(tmp_path, _file(f"definition: {definition}")) == [
        "workflows.yaml:4: workflows.w.definition: it is blank; write the provider's workflowDefinitionId"
    ]


@pytest.mark.parametrize("table", ["", " ", "..", "a/b", "a%2fb", "t" * 201])
def test_a_table_is_one_id(tmp_path: Path, table: str) -> None:
    """It stands in an address, so nothing in it may lead elsewhere."""
    (told,) = refused(tmp_path, _file("definition: d", f"record: {{table: '{table}'}}"))
    assert told.startswith("workflows.yaml:5: workflows.w.record.table: a table is one id")


RECORD = "record: {table: t}"
CASE = "case: {lastName: subject.lastName}"


@pytest.mark.parametrize(
    "lines, problem",
    [
        ([RECORD, CASE], "w.case: a workflow is for a record (api 2 or 3) or for a case (api 1), not for both"),
        (["record: given", CASE], "w.case: a workflow is for a record (api 2 or 3) or for a case (api 1)"),
        (["api: 3", CASE], "w.case: version 3 runs a workflow for a record; write `record:`, or api 1"),
        (["api: 3", "mode: link-send"], "w.mode: version 3 mails no links; write link and mail it yourself, or api 2"),
        (["mode: link", RECORD, "adoption: none"], "w.adoption: a link of version 2 does not tell what is started"),
        (
            ["mode: token", "record: given"],
            "w.exclusive: requests share the record or case that tells what an end user",
        ),
        (
            ["mode: link", RECORD, "reuse: 9d"],
            "w.exclusive: requests share the record or case that tells what an end user",
        ),
        (["api: 1", "mode: link", CASE], "w.exclusive: requests share the record or case that tells what an end user"),
        (["mode: link", RECORD, "unknown: {policy: rerun}"], "w.unknown: a link whose answer was lost is issued again"),
        (["api: 1", "mode: link-send", "reuse: none", CASE], "w.case: version 1 mails a link to the case's address"),
        (["api: 1", "case: given", "caseRead: {workflowId: id}"], "w.caseRead: only a case made for the request"),
        ([RECORD, "reuse: 400d"], "w.reuse: at most 366d, for each subject that is remembered takes room; lower it"),
        (["api: 1", "case: given", "reuse: 9d"], "w.reuse: no record or case is made that could be used again"),
    ],
)
def test_what_a_workflow_may_not_say_together(tmp_path: Path, lines: list[str], problem: str) -> None:
    """Each line is good by itself; the one problem says which of them contradict, and what to change."""
    (told,) = refused(tmp_path, _file("definition: d", *lines))
    assert f": workflows.{problem}" in told


@pytest.mark.parametrize(
    "lines",
    [
        ["mode: link", "record: given", "exclusive: true"],
        ["mode: link", "record: given", "adoption: parameters", "parameters: {ours: reference}"],
        ["mode: link-send", RECORD, "unknown: {policy: rerun}"],
        ["api: 1", "mode: token", CASE, "reuse: none"],
        ["api: 1", "mode: token", CASE, "exclusive: true"],
        ["api: 1", "mode: link", CASE, "reuse: none", "adoption: none", "caseRead: {workflowId: id}"],
        ["api: 1", "mode: link-send", "case: given", "exclusive: true"],
        ["api: 3", "mode: link", "unknown: {policy: rerun}"],
        ["api: 3", "mode: token", "record: given"],
        ["record: given", "locale: pl", "email: attributes.mail"],
    ],
)
def test_what_a_workflow_may_well_say_together(tmp_path: Path, lines: list[str]) -> None:
    """Nothing is refused that could work."""
    assert one(tmp_path, "definition: d", *lines).definition == "d"


def test_a_case_has_the_members_that_the_provider_documents(tmp_path: Path) -> None:
    """A misspelt one would be dropped by the provider in silence."""
    wrong = _file("definition: d", "api: 1", "case: {mail: subject.email, email: subject.mail}")
    assert refused(tmp_path, wrong) == [
        "workflows.yaml:6: workflows.w.case.mail: there is no such key; is email meant?",
        (
            "workflows.yaml:6: workflows.w.case.email: path 'subject.mail': a request has no 'mail' there; "
            "did you mean email?"
        ),
    ]


def test_all_problems_of_a_file_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    """An operator mends the file in one round."""
    told = refused(
        tmp_path,
        "version: 2\nworkflows:\n  a b:\n    definition: d\n  empty:\n  c:\n    mode: lnk\n    deadline: 1\n",
    )
    assert [text.split(": ")[0] + " " + text.split(": ")[1] for text in told] == [
        "workflows.yaml:1 version",
        "workflows.yaml:4 workflows.a b",
        "workflows.yaml:5 workflows.empty",
        "workflows.yaml:7 workflows.c.definition",
        "workflows.yaml:7 workflows.c.mode",
        "workflows.yaml:8 workflows.c.deadline",
    ]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "empty; write `version: 1` and `workflows:`"),
        ("a: [\n", "workflows.yaml:2: no valid YAML"),
        ("- a\n", "workflows.yaml:1: this must be a mapping"),
        ("version: 1\n", "workflows: there is no workflow; write at least one below `workflows:`"),
        ("version: 1\nworkflows: {}\n", "there is no workflow"),
        ("workflows: {w: {definition: d}}\n", "version: this build reads version 1; write `version: 1`"),
        ("[" * 500, "nested too deeply"),
        ("a: \x00\n", "no text that YAML may hold"),
        ("#" * (1024 * 1024 + 1), "larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    """The file and the remedy are named, whatever stands in it."""
    told = refused(tmp_path, text)
    assert "workflows.yaml" in told[0]
    assert problem in "\n".join(told)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """It says which file, and what to do."""
    with pytest.raises(SettingsInvalid, match=r"gone\.yaml: cannot be read \(No such file or directory\); mount"):
        load_catalogue(tmp_path / "gone.yaml")


def test_a_pause_ends_with_what_it_was_for(tmp_path: Path) -> None:
    """The fingerprint changes with what is sent, where and as whom, and with nothing else."""
    base = one(tmp_path, "definition: d", "record: {table: t, columns: {ref: requestId}}")
    others = [
        one(tmp_path, "definition: e", "record: {table: t, columns: {ref: requestId}}"),
        one(tmp_path, "definition: d", "record: {table: u, columns: {ref: requestId}}"),
        one(tmp_path, "definition: d", "record: {table: t, columns: {ref: workflow}}"),
        one(tmp_path, "definition: d", "record: {table: t, columns: {ref: requestId}}", "mode: link"),
        one(tmp_path, "definition: d", "record: {table: t, columns: {ref: requestId}}", "provider: second", "api: 2"),
    ]
    prints = {fault_fingerprint(workflow, "credentials") for workflow in (base, *others)}
    assert len(prints | {fault_fingerprint(base, "other")}) == 7
    slower = one(
        tmp_path, "definition: d", "record: {table: t, columns: {ref: requestId}}", "poll: {max: 9m}", "locale: pl"
    )
    assert fault_fingerprint(slower, "credentials") == fault_fingerprint(base, "credentials")
