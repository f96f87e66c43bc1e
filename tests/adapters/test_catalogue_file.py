"""The workflow catalogue: what a file may say, and what is refused with which words."""

from pathlib import Path

import pytest

from processor.adapters.catalogue_file import fault_fingerprint, load_catalogue
from processor.core.catalogue import (
    FAILURE_WORDS,
    Adoption,
    CaseTemplate,
    Catalogue,
    PollPolicy,
    RecordTemplate,
    ResultShape,
    Workflow,
)
from processor.core.model import DAY_MS, MINUTE_MS, SECOND_MS, ApiVersion
from processor.core.rendering import compile_templates
from processor.errors import SettingsInvalid

EXAMPLE = Path(__file__).parent.parent.parent / "workflows.example.yaml"


def load(tmp_path: Path, text: str) -> Catalogue:
    file = tmp_path / "workflows.yaml"
    file.write_text(text, encoding="utf-8")
    return load_catalogue(file)


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


def test_the_example_says_what_its_comments_say() -> None:
    """The example of the documents is a catalogue that starts, and its templates compile."""
    catalogue = load_catalogue(EXAMPLE, results_topic="results")
    assert list(catalogue.workflows) == ["person-check", "company-check", "legacy-check"]
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
    legacy = catalogue.workflows["legacy-check"]
    assert (legacy.api, legacy.record, legacy.deadline_ms) == (ApiVersion.CASES, None, 2 * DAY_MS)
    assert isinstance(legacy.case, CaseTemplate)
    for workflow in catalogue.workflows.values():
        compile_templates(workflow)


def test_a_definition_is_enough(tmp_path: Path) -> None:
    """Without record and case there is nothing by which a lost run could be recognised."""
    assert one(tmp_path, "definition: d") == Workflow(name="w", definition="d", adoption=Adoption.NONE)
    assert one(tmp_path, "definition: d", "record: none", "case: none", "parameters: none").record is None


def test_the_default_version_of_the_api_comes_from_the_settings(tmp_path: Path) -> None:
    """A workflow that names none takes it."""
    file = tmp_path / "workflows.yaml"
    file.write_text(_file("definition: d", "case: {email: subject.email}"))
    assert load_catalogue(file, api=ApiVersion.CASES).workflows["w"].api is ApiVersion.CASES


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
        ("mode: lnk", "w.mode: 'lnk' is none of run; write one of run"),
        ("mode: rum", "w.mode: 'rum' is none of run; is run meant?"),
        ("mode: link", "w.mode: 'link' is not available in this version; write run"),
        ("api: 3", "w.api: '3' is not available in this version; write 1 (cases) or 2 (records)"),
        ("api: 1", "w.api: version 1 runs a workflow for a case; write `case:`, or api 2"),
        (
            "adoption: parameters",
            "w.adoption: 'parameters' is not available in this version; write record or none",
        ),
        (
            "adoption: record",
            "w.adoption: no record or case is made by which a run could be told; write one, or `adoption: none`",
        ),
        (
            "unknown: {policy: rerun}",
            "w.unknown.policy: 'rerun' is not available in this version; write hold",
        ),
        (
            "unknown: {adoptionWindow: 7d}",
            "w.unknown: the adoption window must end before the deadline; lower adoptionWindow",
        ),
        ("deadline: soon", "w.deadline: 'soon' is no duration; write a number above 0 and ms, s, m, h or d, like 15m"),
        ("deadline: 0d", "w.deadline: '0d' is no duration; write a number above 0 and ms, s, m, h or d, like 15m"),
        ("deadline: 91d", "w.deadline: at most 90d, for duplicates are remembered no longer; lower it"),
        ("deadlin: 7d", "w.deadlin: there is no such key; is deadline meant?"),
        ("case: {email: subject.email}", "w.case: version 2 runs a workflow for a record; write `record:`, or api 1"),
        ("record: people", "w.record: this must be a mapping; write `name: value` lines below it"),
        ("record: {columns: {}}", "w.record.table: it is missing; write the id of the provider's table"),
        (
            "record: {table: t, columns: {a: subject.lastNam}}",
            "w.record.columns.a: path 'subject.lastNam': a request has no 'lastNam' there; did you mean lastName?",
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


def test_a_workflow_makes_a_record_or_a_case(tmp_path: Path) -> None:
    """Which of them a run is for follows from the version of the API."""
    both = _file("definition: d", "record: {table: t}", "case: {email: subject.email}")
    (problem,) = refused(tmp_path, both)
    assert problem.startswith("workflows.yaml:6: workflows.w.case: a workflow makes a record (api 2) or a case (api 1)")


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
    """The fingerprint changes with definition, table, templates and credentials, and with nothing else."""
    base = one(tmp_path, "definition: d", "record: {table: t, columns: {ref: requestId}}")
    others = [
        one(tmp_path, "definition: e", "record: {table: t, columns: {ref: requestId}}"),
        one(tmp_path, "definition: d", "record: {table: u, columns: {ref: requestId}}"),
        one(tmp_path, "definition: d", "record: {table: t, columns: {ref: workflow}}"),
    ]
    prints = {fault_fingerprint(workflow, "credentials") for workflow in (base, *others)}
    assert len(prints | {fault_fingerprint(base, "other")}) == 5
    slower = one(tmp_path, "definition: d", "record: {table: t, columns: {ref: requestId}}", "poll: {max: 9m}")
    assert fault_fingerprint(slower, "credentials") == fault_fingerprint(base, "credentials")
