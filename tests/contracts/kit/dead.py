"""A dead letter for every reason, each made of bytes that really cause it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from processor.adapters.avro import RequestDecoder
from processor.adapters.codec import Codec
from processor.adapters.dead_letters import Coordinates, Fault, dead_letter_headers
from processor.adapters.event_headers import Headers
from processor.core.messages import Observed, OperatorDecided, Resolution
from processor.core.model import SECOND_MS
from processor.errors import UndecodableMessage
from processor.roles.machines import VALUE_OMITTED
from tests.contracts.kit.results import AT, RECORD_ID, WORKFLOW_ID
from tests.contracts.kit.sample import DEAD_LETTERS, REQUESTS, KitRegistry, Sample

VERSION = "0.2.0"  # The build that the kit says set them aside.
LAUNCHES, WORKFLOWS, WEBHOOK = "onboarding.launches", "onboarding.workflows", "webhook"
MEND = "Publish it once more, mended; ask its publisher, whom the original headers and key may name."
OURS = "It is the processor's own affair: show it to its operators."


@dataclass(frozen=True, slots=True)
class Original:
    """A record that cannot be served, as it was read."""

    value: bytes | None
    key: bytes | None = b"C-1001"
    topic: str = REQUESTS
    headers: Headers = ()
    omitted_bytes: int | None = None  # How large it was, where no record of ours can hold it.


def dead_letters(write: Callable[[dict[str, object]], bytes], result: bytes) -> Sequence[Sample]:
    """Return all dead letters of the kit; `write` writes a request, `result` is the value of a result."""
    return tuple(
        Sample(
            f"dead-{name}",
            what,
            expected,
            DEAD_LETTERS,
            original.key,
            original.value,
            _headers(original, fault),
            None,
        )
        for name, what, original, fault, expected in (*_unread(write, result), *_undecided(write), *_internal())
    )


Row = tuple[str, str, Original, Fault, str]


def _headers(original: Original, fault: Fault) -> Headers:
    at = -1 if original.topic == WEBHOOK else 7
    source = Coordinates(original.topic, min(at, 3), at)
    omitted = () if original.omitted_bytes is None else ((VALUE_OMITTED, str(original.omitted_bytes).encode()),)
    return (
        *dead_letter_headers(original.headers, fault, source, failed_at=AT + SECOND_MS, version=VERSION),
        *omitted,
    )


def _request(**more: object) -> dict[str, object]:
    return {"requestId": "kit-dead", "workflow": "person-check", "requestedAt": AT * 1000, **more}


def _unread(write: Callable[[dict[str, object]], bytes], result: bytes) -> Sequence[Row]:
    """Return requests that cannot be decoded, each with the fault that decoding it ends with."""
    good = write(_request())
    values: tuple[tuple[str, str, bytes | None], ...] = (
        ("null-value", "A record without a value: requests are not deleted that way.", None),
        ("short-frame", "Two bytes.", good[:2]),
        ("bad-magic", "JSON, written without a registry's serializer.", b'{"requestId":"kit-dead"}'),
        ("unknown-schema", "A schema id that the registry does not know.", b"\x00\x00\x0f\x42\x3f" + good[5:]),
        ("incompatible-schema", "A result on the topic of requests.", result),
        ("bad-avro", "Cut short.", good[:-1]),
        ("bad-json", "A `Json` that is none.", write(_request(columns={"address": {"json": '{"city":'}}))),
        ("bad-value", "An empty request id.", write(_request(requestId=" "))),
    )
    decoder = RequestDecoder(KitRegistry(), unknown_tries=1)
    traced = (("x-publisher", b"crm"),)
    return [
        (name, what, Original(value, headers=traced), _fault_of(decoder, value), MEND) for name, what, value in values
    ]


def _fault_of(decoder: RequestDecoder, value: bytes | None) -> Fault:
    try:
        decoder.decode(REQUESTS, value)
    except UndecodableMessage as error:
        return Fault(error.reason, type(error).__name__, str(error))
    raise AssertionError("the kit says that this request cannot be read")


def _undecided(write: Callable[[dict[str, object]], bytes]) -> Sequence[Row]:
    """Return requests that were decoded and cannot be served; one is too large where 1,024 bytes are the limit."""
    large = Original(write(_request(attributes={"note": "x" * 1_100})))
    size = len(large.value or b"") + len(large.key or b"")
    too_large = Fault("too-large", "UndecodableMessage", f"a request of {size} bytes; 1024 are allowed")
    again = Original(write(_request(linkAttempt=2)))
    no_first = "one more link is asked for, and no request of this id came under this key before"
    rejected: tuple[tuple[str, str, Original, str], ...] = (
        (
            "invalid",
            "A request id of 257 characters.",
            Original(write(_request(requestId="k" * 257))),
            "the request id is longer than 256 characters",
        ),
        (
            "conflict",
            "A request of this id asked for another workflow before; the first one stands.",
            Original(write(_request(workflow="company-check"))),
            "a request of this id said something else; the first stands",
        ),
        ("link-of-unknown-request", "One more link, and no request of this id under this key.", again, no_first),
        (
            "no-link-mode",
            "One more link of a workflow that issues none.",
            again,
            "the workflow issues neither links nor tokens",
        ),
    )
    return [
        ("too-large", "A request above the limit, which was set to 1,024 bytes.", large, too_large, MEND),
        (
            "value-omitted",
            "As `dead-too-large`, but above what a record may hold: `dlq.value.omitted` says how many bytes it had.",
            Original(b"", omitted_bytes=2_097_152),
            replace(too_large, message="a request of 2097158 bytes; 262144 are allowed"),
            "Read it where it still lies: `dlq.source.topic`, `.partition`, `.offset`.",
        ),
        *((name, what, of, Fault(name, "RequestRejected", text), MEND) for name, what, of, text in rejected),
    ]


def _internal() -> Sequence[Row]:
    """Return what others than publishers caused: internal records and webhooks."""
    codec = Codec()
    seen = codec.encode(Observed(RECORD_ID, WORKFLOW_ID, RECORD_ID, None, "RUNNING", AT, AT))
    decided = OperatorDecided(RECORD_ID, "d-1", "kit-dead", 1, Resolution.STARTED, None, AT)
    key = RECORD_ID.encode()
    refusal = "the decision that a workflow was started must name it"
    nul = Original(seen, b"\x00", LAUNCHES)
    undecodable = "UndecodableMessage"
    no_json, no_id = Original(b"pong", None, WEBHOOK), Original(b'{"kind":"ping"}', None, WEBHOOK)
    rows: tuple[tuple[str, str, Original, Fault], ...] = (
        (
            "unexpected-type",
            "An internal record on a topic where it does not belong.",
            Original(seen, WORKFLOW_ID.encode(), WORKFLOWS),
            Fault("unexpected-type", undecodable, "Observed does not belong on this topic"),
        ),
        (
            "decision-refused",
            "A person's decision that does not fit.",
            Original(codec.encode(decided), key, LAUNCHES),
            Fault("decision-refused", "RequestRejected", refusal),
        ),
        (
            "unprintable-key",
            "An internal key with a NUL character.",
            nul,
            Fault("unprintable-key", "PoisonError", "the state key holds a NUL character"),
        ),
        (
            "webhook-not-json",
            "A genuine webhook whose body is no JSON; it has no key.",
            no_json,
            Fault("webhook-not-json", undecodable, "the body of a genuine webhook is no JSON object"),
        ),
        (
            "webhook-no-workflow-id",
            "A genuine webhook that names no workflow.",
            no_id,
            Fault("webhook-no-workflow-id", undecodable, "no configured path leads to a workflow id"),
        ),
    )
    return [(name, what, of, fault, OURS) for name, what, of, fault in rows]
