"""The HTTP port on pyreqwest (reqwest and hyper, in Rust): the default, for its cost per call.

Its exception types hide what matters: `ConnectError` is raised also when the server read the whole request and hung up,
and `ConnectTimeoutError` also when no answer came in time. So the causes decide, never the type alone: see `reason_in`.
"""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from pyreqwest.client import Client, ClientBuilder, SyncClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    ClientClosedError,
    DecodeError,
    DetailedPyreqwestError,
    NetworkError,
    PyreqwestError,
    ReadError,
    RequestTimeoutError,
)
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response, ResponseBodyReader

from processor.adapters.http import (
    ANSWER_HEADERS,
    USER_AGENT,
    HttpAnswer,
    HttpFailure,
    HttpRequest,
    HttpSettings,
    Proxy,
    Reason,
    Slots,
)

# hyper-util's words for the phase that failed. They are compared whole, for the text of another cause holds the URL.
_CONNECT_PHASE = "client error (Connect)"
_SEND_PHASE = "client error (SendRequest)"
_ENDED_EARLY = "end of file before message length reached"
_TUNNEL = "tunnel error"  # Begins what ends before a proxy opened the way; TCP to the proxy has its own words below it.

# The first that fits; a reason of the connect phase is not among them.
_REASONS: dict[type[Exception], Reason] = {
    BuilderError: Reason.INVALID_REQUEST,  # Raised before anything is sent.
    RequestTimeoutError: Reason.TIMEOUT,
    ReadError: Reason.TRUNCATED,
    DecodeError: Reason.MALFORMED,
    NetworkError: Reason.DISCONNECTED,
    ClientClosedError: Reason.DISCONNECTED,
}

# The body is read in pieces, so that a call holds little more than the limit, however small the server cuts its chunks.
_PIECE_BYTES = 16 * 1024


class PyreqwestClient:
    """An `HttpClient` whose connections live on pyreqwest's own thread."""

    def __init__(self, settings: HttpSettings) -> None:
        self._client = _build(settings)
        self._slots = Slots(settings.connections_max, settings.slot_timeout_s)
        self._body_bytes_max = settings.body_bytes_max
        self._is_closed = False

    async def send(self, request: HttpRequest) -> HttpAnswer | HttpFailure:
        """Send once; see the port."""
        left_s = await self._slots.take(request.deadline_s)
        if left_s is None:
            return HttpFailure(Reason.POOL)
        try:
            if self._is_closed:
                return HttpFailure(Reason.CLOSED)
            return await self._exchange(request, left_s)
        finally:
            self._slots.give_back()

    async def close(self) -> None:
        """Close, and wait until pyreqwest's thread has left Python; see the port."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._client.close()
        await self._slots.drain()
        _wait_for_thread()

    async def _exchange(self, request: HttpRequest, left_s: float) -> HttpAnswer | HttpFailure:
        try:
            prepared = self._prepare(request, left_s)
        except Exception:  # noqa: BLE001 - nothing is sent before the request is entered, whatever went wrong
            return HttpFailure(Reason.INVALID_REQUEST)
        try:
            async with prepared as response:
                return await self._read(response)
        except Exception as error:  # noqa: BLE001 - the caller must always learn what is known of the request
            return HttpFailure(reason_in(error))

    def _prepare(self, request: HttpRequest, left_s: float) -> StreamRequest:
        builder = self._client.request(request.method, request.url).headers(request.headers)
        if request.body is not None:
            builder = builder.body_bytes(request.body)
        return builder.timeout(timedelta(seconds=left_s)).streamed_read_buffer_limit(_PIECE_BYTES).build_streamed()

    async def _read(self, response: Response) -> HttpAnswer | HttpFailure:
        # Nothing is decompressed here, so that a bomb stays as small as it came; an encoded body is refused.
        if _header(response, "content-encoding") not in {None, "identity"}:
            return HttpFailure(Reason.MALFORMED)
        body = await _read_body(response.body_reader, self._body_bytes_max)
        if body is None:
            return HttpFailure(Reason.TOO_LARGE, response.status)
        headers = {name: value for name in ANSWER_HEADERS if (value := _header(response, name)) is not None}
        return HttpAnswer(response.status, headers, body)


def reason_in(error: Exception) -> Reason:
    """Say why a request failed, from the causes that pyreqwest names; a connect reason only where they prove it."""
    causes = _causes(error)
    if _CONNECT_PHASE in causes and _SEND_PHASE not in causes:
        return _connect_reason(error, causes)
    if _ENDED_EARLY in causes:
        return Reason.TRUNCATED
    return next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), Reason.OTHER)


def _connect_reason(error: Exception, causes: frozenset[str]) -> Reason:
    if isinstance(error, RequestTimeoutError):
        return Reason.CONNECT_TIMEOUT
    if "dns error" in causes:
        return Reason.DNS
    if "tcp connect error" in causes:
        return Reason.CONNECT
    is_tunnel = any(cause.startswith(_TUNNEL) for cause in causes)
    return Reason.PROXY if is_tunnel else Reason.TLS  # TLS fails in many words, TCP and tunnels in these.


def _causes(error: Exception) -> frozenset[str]:
    if not isinstance(error, DetailedPyreqwestError):
        return frozenset()
    return frozenset(cause["message"] for cause in error.details["causes"] or ())


def _header(response: Response, name: str) -> str | None:
    """Return a header, or None where it is missing or not ASCII."""
    try:
        return response.get_header(name)
    except ValueError:
        return None


async def _read_body(reader: ResponseBodyReader, bytes_max: int) -> bytes | None:
    """Return the whole body, or None when it is above the limit."""
    pieces = []
    size = 0
    while (piece := await reader.read(_PIECE_BYTES)) is not None:
        pieces.append(piece)
        size += len(piece)
        if size > bytes_max:
            return None
        if len(piece) < _PIECE_BYTES:  # Only the last one is short.
            break
    return b"".join(pieces)


def _build(settings: HttpSettings) -> Client:
    builder = (
        ClientBuilder()
        .no_proxy()  # None of the environment's.
        .runtime_multithreaded(enable=False)  # `_wait_for_thread` needs it to be one thread.
        .user_agent(USER_AGENT)
        .default_headers({"accept-encoding": "identity"})
        .gzip(enable=False)
        .brotli(enable=False)
        .zstd(enable=False)
        .deflate(enable=False)
        .follow_redirects(enable=False)
        .referer(enable=False)
        .connect_timeout(timedelta(seconds=settings.connect_timeout_s))
        .pool_idle_timeout(timedelta(seconds=settings.keep_alive_s))
        .pool_max_idle_per_host(settings.connections_max)
    )
    if settings.proxy is not None:
        builder = builder.proxy(_proxy(settings.proxy))
    if settings.ca_file is not None:
        builder = builder.add_root_certificate_pem(Path(settings.ca_file).read_bytes())
    return builder.build()


def _proxy(proxy: Proxy) -> ProxyBuilder:
    builder = ProxyBuilder.all(proxy.url)
    return builder if proxy.username is None else builder.basic_auth(proxy.username, proxy.password or "")


def _wait_for_thread() -> None:
    """Wait until pyreqwest's thread has finished everything that it began before."""
    # That thread wakes the event loop from inside Python. When it still stands there while the interpreter finalizes,
    # the process aborts (SIGABRT, "PyGILState_Release: thread state must be current"): without this, one exit in six.
    # A blocking request queues behind whatever the thread is doing, releases the interpreter lock while it waits, and
    # wakes no loop when it is done; its scheme is refused on that thread, before any network.
    with suppress(PyreqwestError):
        SyncClientBuilder().runtime_multithreaded(enable=False).build().get("refused://here").build().send()
