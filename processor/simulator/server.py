"""The simulator over HTTP: reads requests, waits, and answers, stays silent or hangs up. Decides nothing."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage

from processor.simulator.api import Api, Request
from processor.simulator.control import PREFIX, Control
from processor.simulator.delivery import Delivery
from processor.simulator.ledger import Ledger
from processor.simulator.model import Answer, Answered, Conduct, Counters, Refused
from processor.simulator.provider import Provider
from processor.simulator.recording import recording_in
from processor.simulator.replay import Replay
from processor.simulator.schedule import Schedule, Timer
from processor.simulator.settings import Faults, SimulatorSettings, changed, webhook_urls
from processor.simulator.signing import Keys, Signer

BACKLOG = 1024
DEFAULT_PORT = 8090
SHUTDOWN_S = 0.1  # Open calls are cut: a provider that goes down does not wait for anybody.


def wall_clock() -> int:
    """Read the machine's clock: milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


class Simulator:
    """A provider that runs in the current event loop.

    Raises ValueError when the signing key, the ledger file or the recording makes no sense, OSError when a file cannot
    be read or the port is taken.
    """

    def __init__(self, settings: SimulatorSettings | None = None, clock: Callable[[], int] = wall_clock) -> None:
        self.settings = settings or SimulatorSettings()
        self.counters = Counters()
        self._clock = clock
        self._schedule = Schedule()
        self._provider = Provider(self.settings, self._schedule, self.counters, self._send_webhook)
        self._keys = Keys(self.settings.signing_key)
        self._api = Api(self._provider, self._keys, clock())
        self._answering = self._api.answer
        if self.settings.replay_file:
            recording = recording_in(Path(self.settings.replay_file))
            self._answering = Replay(recording, self._api, self._provider.scene, self._send_webhook).answer

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, on any free port for 0; returns the base URL."""
        self._delivery = Delivery(self.settings, self._schedule, self.counters, self._clock)
        if self._delivery.urls:
            _ = self.signer  # Made now, for it takes long enough to be felt in the middle of a run.
        self._control = Control(self._provider, self._api, self._delivery, self._keys, self.counters)
        # A caller that goes away frees its handler; what it executed before stays executed.
        server = web.Server(self._handle, request_factory=self._request, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        self._timer = Timer(self._schedule, self._clock)
        try:
            await web.TCPSite(self._runner, host, port, backlog=BACKLOG).start()
        except OSError:
            await self.stop()
            raise
        bound: tuple[str, int] = self._runner.addresses[0][:2]
        return f"http://{bound[0]}:{bound[1]}"

    async def stop(self) -> None:
        """Close everything; what is running is left as it is, as in a crash."""
        self._timer.stop()
        await self._runner.cleanup()
        await self._delivery.stop()
        self.ledger.close()

    @property
    def ledger(self) -> Ledger:
        """What has been executed."""
        return self._provider.ledger

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self._provider.scene.faults

    def change_faults(self, **given: object) -> None:
        """Put other values in force for some faults; raises ValueError that names what is wrong."""
        self._provider.scene.faults = changed(self._provider.scene.faults, given)

    def send_webhooks_to(self, *urls: str) -> None:
        """Send webhooks to these URLs in turn from now on; ports of this machine will do."""
        self._delivery.urls = webhook_urls(urls)

    def revoke_tokens(self) -> None:
        """Make every access token invalid."""
        self._api.credentials.revoke()

    def rotate_credentials(self, key: str, secret: str) -> None:
        """Know another key and secret, and none beside them; access tokens of before stay valid until revoked."""
        self._api.credentials.rotate(key, secret)

    def revoke_former_tokens(self) -> None:
        """Make the access tokens of former credentials invalid."""
        self._api.credentials.revoke_former()

    @property
    def signer(self) -> Signer:
        """The key that signs webhooks."""
        return self._keys.current

    def _send_webhook(self, body: bytes) -> None:
        self._delivery.send(body, lambda: self.signer)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        """Make aiohttp's request object with our own limit of the body."""
        size_max = self.settings.body_bytes_max
        return web.BaseRequest(message, payload, protocol, writer, task, task.get_loop(), client_max_size=size_max)

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        try:
            body = await http.read() if http.method == "POST" else b""
        except web.HTTPRequestEntityTooLarge:
            refused = Refused(413, "TOO_LARGE", "the body is too large")
            return _response(Answer(413, self._provider.scene.error(refused)))
        request = _read(http, body, self._clock())
        if request.path.startswith(PREFIX):
            return _response(await self._control.answer(request))
        route, answer, wait_ms = self._answering(request)
        self.counters.begin(route)
        try:
            return await self._conduct(http, route, answer, wait_ms)
        finally:
            self.counters.end(route)

    async def _conduct(self, http: web.BaseRequest, route: str, answer: Answer, wait_ms: int) -> web.StreamResponse:
        """Answer after a while, stay silent or hang up."""
        try:
            if wait_ms:
                await asyncio.sleep(wait_ms / 1000)
            if answer.conduct is Conduct.SILENT:
                await asyncio.sleep(self.settings.silence_s)
        except asyncio.CancelledError:
            self.counters.count(route, "caller-gone" if answer.conduct is Conduct.ANSWER else answer.conduct)
            if answer.run is not None:
                self.ledger.was_answered(answer.run, Answered.NO)
            raise
        if answer.conduct is Conduct.ANSWER:
            self.counters.count(route, str(answer.status))
            return _response(answer)
        self.counters.count(route, answer.conduct)
        assert http.transport is not None, "a request that is being handled has a connection"
        http.transport.close()
        return _response(answer)


async def serve_until(
    stop: asyncio.Event, settings: SimulatorSettings, host: str, port: int, on_ready: Callable[[str], None]
) -> None:
    """Run a simulator until `stop` is set; `on_ready` is told its base URL."""
    simulator = Simulator(settings)
    on_ready(await simulator.start(host, port))
    try:
        await stop.wait()
    finally:
        await simulator.stop()


def serve(
    settings: SimulatorSettings,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    on_ready: Callable[[str], None] = lambda _url: None,
) -> None:
    """Run a simulator in this process until SIGINT or SIGTERM, on uvloop where it is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            runner.get_loop().add_signal_handler(number, stop.set)
        runner.run(serve_until(stop, settings, host, port, on_ready))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Choose uvloop, or asyncio's own loop without it."""
    try:
        import uvloop  # noqa: PLC0415  # it is optional
    except ImportError:
        return None
    return uvloop.new_event_loop


def _read(http: web.BaseRequest, body: bytes, at: int) -> Request:
    """Take out of aiohttp's request what the API looks at."""
    headers = http.headers
    path, _, query = http.raw_path.partition("?")
    return Request(
        method=http.method,
        path=path,
        query=query,
        accept=headers.get("Accept", ""),
        authorization=headers.get("Authorization", ""),
        content_type=headers.get("Content-Type", ""),
        body=body,
        at=at,
    )


def _response(answer: Answer) -> web.Response:
    """Turn an answer into aiohttp's."""
    headers = {"Content-Type": answer.media_type, **dict(answer.headers)}
    return web.Response(status=answer.status, body=answer.body, headers=headers)
