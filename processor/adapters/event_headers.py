"""Headers of records: CloudEvents in binary mode and trace context. They hold ids and instants, no personal data.

Sources: CloudEvents 1.0 Kafka protocol binding; W3C Trace Context.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeAlias

from processor.adapters.schema_files import PUBLIC_NAMESPACE, PUBLIC_RECORDS
from processor.core.model import SECOND_MS, Instant

Headers: TypeAlias = tuple[tuple[str, bytes], ...]

TRACEPARENT = "traceparent"
TRACEPARENT_FORM = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)

CONSTANT: dict[str, Headers] = {
    record: (
        ("ce_specversion", b"1.0"),
        ("ce_type", f"{PUBLIC_NAMESPACE}.{record}".encode()),
        ("ce_dataschema", f"urn:avro:{PUBLIC_NAMESPACE}.{record}".encode()),
        ("content-type", b"application/avro"),
    )
    for record in PUBLIC_RECORDS
}


def event_headers(record: str, event_id: str, at: Instant, *, source: str, traceparent: str | None) -> Headers:
    """Return the headers of a public event.

    `record` is its record name, `at` when what it tells happened, `source` the URI reference of this deployment.
    """
    trace = () if traceparent is None else ((TRACEPARENT, traceparent.encode()),)
    return (
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_time", rfc3339(at).encode()),
        *CONSTANT[record],
        *trace,
    )


def read_traceparent(headers: Headers) -> str | None:
    """Return the trace context that a message came with; None where there is none, or not in the form of the standard.

    Only what has that form is passed on, so that nothing else can travel in this header.
    """
    for name, value in headers:
        if name.lower() == TRACEPARENT:
            text = value.decode("ascii", errors="replace")
            return text if TRACEPARENT_FORM.fullmatch(text) else None
    return None


def rfc3339(at: Instant) -> str:
    """Return an instant as RFC 3339 text, UTC, with milliseconds."""
    seconds, milliseconds = divmod(at, SECOND_MS)
    return f"{_to_the_second(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=64)  # Events come many a second, and formatting costs more than all the rest of their headers.
def _to_the_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
