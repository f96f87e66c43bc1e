"""How others use the kit: what its README shows, and its registry behind a web server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.contracts.kit.sample import KIT

README = (KIT / "README.md").read_text(encoding="utf-8")


@contextmanager
def served_registry() -> Iterator[str]:
    """Serve the files of the kit's registry as any web server does, and give the address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(KIT / "registry")))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def blocks(language: str) -> list[str]:
    """Return the code that the README shows in a language."""
    return re.findall(rf"^```{language}\n(.+?)^```$", README, re.MULTILINE | re.DOTALL)
