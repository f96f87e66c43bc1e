"""Headers that travel with events and dead letters: what readers may rely on, and nothing personal."""

import pytest

from processor.adapters.dead_letters import Coordinates, Fault, dead_letter_headers
from processor.adapters.event_headers import event_headers, read_traceparent, rfc3339
from tests.adapters.samples import AT, TRACEPARENT


def test_a_result_carries_cloudevents_headers_and_its_trace() -> None:
    """Binary mode of the CloudEvents Kafka binding; the trace of the request goes on."""
    headers = event_headers("OnboardingFinished", "e-1", AT, source="urn:test", traceparent=TRACEPARENT)
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"e-1",
        "ce_source": b"urn:test",
        "ce_type": b"onboarding.v1.OnboardingFinished",
        "ce_time": b"2025-11-24T16:00:00.123Z",
        "ce_dataschema": b"urn:avro:onboarding.v1.OnboardingFinished",
        "content-type": b"application/avro",
        "traceparent": TRACEPARENT.encode(),
    }


def test_a_request_without_trace_gives_none() -> None:
    """No header is made up."""
    assert "traceparent" not in dict(event_headers("OnboardingFinished", "e", AT, source="u", traceparent=None))


@pytest.mark.parametrize(
    "headers, found",
    [
        ((("traceparent", TRACEPARENT.encode()),), TRACEPARENT),
        ((("x", b"y"), ("Traceparent", TRACEPARENT.encode())), TRACEPARENT),
        ((), None),
        ((("traceparent", b""),), None),
        ((("traceparent", b"Ada Example"),), None),
        ((("traceparent", b"\xff\xfe"),), None),
        ((("traceparent", TRACEPARENT.upper().encode()),), None),
        ((("traceparent", f"{TRACEPARENT}-x".encode()),), None),
        ((("traceparent", f"{TRACEPARENT}\n".encode()),), None),
        ((("traceparent", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01"),), None),
    ],
)
def test_only_a_trace_context_is_read_as_one(headers: tuple[tuple[str, bytes], ...], found: str | None) -> None:
    """Anything else in that header is dropped, so that nothing personal travels on in it."""
    assert read_traceparent(headers) == found


@pytest.mark.parametrize(
    "at, text",
    [(0, "1970-01-01T00:00:00.000Z"), (AT, "2025-11-24T16:00:00.123Z"), (1_999, "1970-01-01T00:00:01.999Z")],
)
def test_instants_are_written_in_utc(at: int, text: str) -> None:
    """RFC 3339 with milliseconds."""
    assert rfc3339(at) == text


def test_a_dead_letter_says_why_and_from_where() -> None:
    """The original's headers stay, those of an earlier stay in the dead letters go."""
    original = (("__value_schema_id", b"\x01"), ("dlq.reason", b"bad-magic"), ("traceparent", b"t"))
    fault = Fault("bad-avro", "UndecodableMessage", "12 bytes do not follow their schema", attempts=2)
    headers = dead_letter_headers(
        original, fault, Coordinates("onboarding.requests", 3, 42), failed_at=AT, version="1.2.3"
    )
    assert headers == (
        ("__value_schema_id", b"\x01"),
        ("traceparent", b"t"),
        ("dlq.reason", b"bad-avro"),
        ("dlq.error.type", b"UndecodableMessage"),
        ("dlq.error.message", b"12 bytes do not follow their schema"),
        ("dlq.source.topic", b"onboarding.requests"),
        ("dlq.source.partition", b"3"),
        ("dlq.source.offset", b"42"),
        ("dlq.attempts", b"2"),
        ("dlq.failed-at", b"2025-11-24T16:00:00.123Z"),
        ("dlq.processor.version", b"1.2.3"),
    )
