"""What all parts of the provider share: settings, the faults in force, chance, the schedule and the counters."""

from random import Random

from processor.simulator import draws
from processor.simulator.bodies import error_body
from processor.simulator.model import Counters, Refused
from processor.simulator.schedule import Schedule
from processor.simulator.settings import SimulatorSettings


class Scene:
    """One provider's circumstances; `faults` and `source` are put anew, so ask for them each time."""

    def __init__(self, settings: SimulatorSettings, schedule: Schedule, counters: Counters) -> None:
        self.settings = settings
        self.faults = settings.faults
        self.source = Random(settings.seed)
        self.schedule = schedule
        self.counters = counters

    def server_error(self) -> Refused:
        """Draw a 5xx."""
        return Refused(self.source.choice(draws.SERVER_ERRORS), "SERVER_ERROR", "something went wrong")

    def error(self, refused: Refused) -> bytes:
        """Build the body of a refusal, with a fingerprint of its own."""
        return error_body(f"{self.source.getrandbits(40):010x}", refused.code, refused.message)

    def refuse_if_marked(self, marker: str, *bodies: bytes) -> None:
        """Answer 400 to what holds the marker, at the rate of that fault."""
        sought = marker.encode()
        is_marked = bool(sought) and any(sought in body for body in bodies)
        if is_marked and draws.happens(self.source, self.faults.refused_rate):
            raise Refused(400, "REFUSED", "the content is refused")
