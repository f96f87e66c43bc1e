"""What a process listens on; an address that cannot be had is told by its setting, with the remedy."""

import errno
import os

from processor.adapters.web_listener import WebListener
from processor.errors import SettingsInvalid


async def listen(listener: WebListener, section: str, host: str, port: int) -> int:
    """Listen where a section of the settings says, and return the port; raises SettingsInvalid where that cannot be."""
    try:
        return await listener.start(host, port)
    except (OSError, UnicodeError) as error:
        await listener.stop()
        raise SettingsInvalid(refusal(section, host, port, error)) from error


def refusal(section: str, host: str, port: int, error: Exception) -> str:
    """Say which setting names an address that cannot be had, why, and what to write."""
    prefix, number = f"PROCESSOR_{section.upper()}", getattr(error, "errno", None)
    match number:
        case errno.EADDRINUSE:
            return f"{prefix}__PORT: {host}:{port} is taken; choose another port, or end what listens there"
        case errno.EACCES | errno.EPERM:
            return f"{prefix}__PORT: {host}:{port} may not be listened on by this user; choose a port above 1023"
    why = os.strerror(number) if number is not None and number > 0 else "no such host"
    return f"{prefix}__HOST: {host} cannot be listened on ({why}); write an address of this machine, 0.0.0.0 for all"
