"""A probe as a report in Markdown: what was asked and answered, by shapes and words, without values; pure."""

from collections.abc import Iterable, Iterator, Sequence

from processor.adapters.shapes import Known, Words, leaves_of, rows_of
from processor.cli.findings import COLUMNS, Finding
from processor.cli.findings import rows_of as findings_rows
from processor.cli.probe_learn import status_words, words_of_answer, words_of_webhook
from processor.cli.probe_record import shown_path
from processor.cli.probe_talk import End, Exchange, Stage, Talk
from processor.core.keys import canonical_id
from processor.core.model import Instant
from processor.core.proof import Operation
from processor.core.reference import read_reference
from processor.settings import WebhookSettings

NEXT = {
    End.NOT_STARTED: "Nothing was run. Mend what the last call says, and probe again.",
    End.UNKNOWN: "It may have happened or not: look for it in the provider's dashboard before you probe again.",
    End.NO_WORKFLOW_ID: "Nobody told which workflow it is: probe with `--webhook-port`, and let the person be done.",
    End.RUNNING: "Wait longer (`--wait`), or see whether the last status word is an end that nobody listed.",
    End.FAILED: "So its words do not show what a good end looks like: probe with another request.",
    End.COMPLETED: "",
}

LEFT_OUT = (
    "Values are left out: there are member paths, JSON types with lengths, HTTP statuses, times, and the words of "
    "statuses, kinds of webhooks and errors."
)


def report_text(talk: Talk, findings: Sequence[Finding], began_at: Instant, webhook: WebhookSettings) -> str:
    """Return the report; the paths of `webhook` lead to the status of a webhook, which may be told."""
    lines = [
        f"# Probe of {talk.workflow.name}",
        "",
        f"Definition `{talk.workflow.definition}`, API version {int(talk.workflow.api)}, mode {talk.workflow.mode}: "
        f"**{talk.end}**{f' ({talk.why})' if talk.why else ''}. {NEXT[talk.end]}".rstrip(),
        "",
        LEFT_OUT,
        "",
        *_section("Calls", ("call", "when", "address", "HTTP", "bytes", "ms", "at s"), _calls(talk, began_at)),
        *_section("Status words", ("word", "first read at s", "listed as"), _words(talk, began_at)),
        *_section("Results", ("when", "HTTP", "bytes", "media type"), _results(talk)),
        *_section("Webhooks", ("at s", "status", "kind", "read by the settings"), _webhooks(talk, began_at)),
        f"{talk.refused} webhooks were not believed, {talk.foreign} were of other workflows.",
        "",
        *_shapes(talk, webhook),
        *_section("To change", COLUMNS, findings_rows(findings)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _calls(talk: Talk, began_at: Instant) -> Iterator[Sequence[object]]:
    for each in talk.exchanges:
        answer = each.why if each.status is None else each.status
        address = f"{each.method} {shown_path(talk, each)}"
        at_s = f"{(each.at - began_at) / 1000:.1f}"
        yield each.step, each.stage, address, answer, len(each.body), round(each.seconds * 1000), at_s


def _words(talk: Talk, began_at: Instant) -> Iterator[Sequence[object]]:
    workflow = talk.workflow
    for word, at in talk.words.items():
        lists = {"success": workflow.success, "failure": workflow.failure, "running": workflow.running}
        listed = next((name for name, words in lists.items() if word.upper() in words), "not listed")
        yield word, f"{(at - began_at) / 1000:.1f}", listed


def _results(talk: Talk) -> Iterator[Sequence[object]]:
    for each in talk.exchanges:
        if each.step == Operation.READ_RESULT:
            answer = each.why if each.status is None else each.status
            yield each.stage, answer, len(each.body), each.headers.get("content-type", "")


def _webhooks(talk: Talk, began_at: Instant) -> Iterator[Sequence[object]]:
    for heard in talk.heard:
        read = heard.read
        is_ours = read is not None and canonical_id(read.workflow_id) == canonical_id(talk.ids.get("workflow", ""))
        verdict = "the workflow id" if is_ours else ("another id" if read else "no workflow id")
        words = (read.status if _is_status(talk, read.status) else "", read.kind and "there") if read else ("", "")
        yield f"{(heard.at - began_at) / 1000:.1f}", *words, verdict


def _is_status(talk: Talk, word: str | None) -> bool:
    return word is not None and word.upper() in status_words(talk)


def _shapes(talk: Talk, webhook: WebhookSettings) -> Iterator[str]:
    """Yield one table for each kind of answer, that of the first call of its kind and time, and of the webhooks."""
    known = known_of(talk)
    first: dict[tuple[str, Stage, int | None], Exchange] = {}
    for each in talk.exchanges:
        if each.value is not None:
            first.setdefault((each.step, each.stage, each.status), each)
    for (step, stage, status), each in first.items():
        rows = [
            (row.path, row.type, row.note) for row in rows_of(each.value, known, _noted(words_of_answer(talk, each)))
        ]
        yield from _section(f"Answer of {step}, {stage}, HTTP {status}", ("member", "type", "stands for"), rows)
    for number, heard in enumerate(talk.heard, start=1):
        words = _noted(words_of_webhook(talk, heard.body, webhook))
        rows = [(row.path, row.type, row.note) for row in rows_of(heard.body, known, words)]
        yield from _section(f"Webhook {number}", ("member", "type", "stands for"), rows)


def _noted(words: Words) -> Words:
    return {path: {text: f"the word {word}" for text, word in known.items()} for path, known in words.items()}


def known_of(talk: Talk) -> Known:
    """Return what texts of an answer may be told wherever they stand, and as what."""
    ids = {canonical_id(text): f"the {role} id" for role, text in talk.ids.items()}
    sent = [text for each in talk.exchanges for _, text in leaves_of(each.sent)]
    ours = {canonical_id(text): "our reference" for text in sent if read_reference(text) is not None}
    return {**ids, **ours, canonical_id(talk.workflow.definition): "the definition id"}


def _section(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield from (f"## {title}", "")
    lines = [_line(row) for row in rows]
    yield from [_line(columns), _line(["---"] * len(columns)), *lines] if lines else ["None."]
    yield ""


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell or '').replace('|', chr(92) + '|') for cell in cells)} |"
