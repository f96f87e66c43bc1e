"""The error tree, grouped by what to do next: wait, set the message aside, or stop.

No message of an error carries personal data: ids, coordinates, sizes and names of fields only.
"""


class ProcessorError(Exception):
    """The root: whoever catches it has handled everything that is ours."""


class TransientError(ProcessorError):
    """Wait and try again; the message is not to blame and no attempt is spent."""


class ApiUnavailable(TransientError):
    """The provider's API did not answer usefully."""


class BrokerUnavailable(TransientError):
    """Kafka did not answer in time."""


class RegistryUnavailable(TransientError):
    """The schema registry did not answer usefully: time-out, 5xx, or it refused our credentials."""


class PoisonError(ProcessorError):
    """Set this one message aside, with its bytes; the next one goes on.

    `reason` is a word of a closed list: it becomes a header of the dead letter and a metric label.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UndecodableMessage(PoisonError):
    """The bytes are no message that we know."""


class RequestRejected(PoisonError):
    """The message was read but can never be served (conflict, unknown workflow, missing value)."""


class UntrustedWebhook(PoisonError):
    """The signature does not prove that the provider sent it."""


class FatalError(ProcessorError):
    """Stop: going on could break a promise, or would only fail again."""


class SettingsInvalid(FatalError):
    """A setting, the catalogue or the surroundings contradict what we need; the text names the remedy."""


class StateUnreadable(FatalError):
    """The state topic and the group's offsets contradict each other, or hold a newer format."""
