"""What a process exposes beside its own metrics."""

from prometheus_client import generate_latest

from processor.core.catalogue import Catalogue
from processor.roles.process import Process, Role
from processor.settings import Settings


def test_a_process_tells_what_it_takes() -> None:
    """CPU, memory and open files, by the names that dashboards of every house know; and no time beside each counter."""
    settings = Settings.model_validate({"api": {"base_url": "http://127.0.0.1:1"}})
    process = Process(settings, Catalogue({}), [Role.INGESTOR], on_crash=lambda: None)
    text = generate_latest(process.registry).decode()
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"):
        assert f"\n{name} " in text
    assert "_created" not in text
