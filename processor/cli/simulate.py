"""`processor simulate`: the provider's API on this machine, with seeded faults and signed webhooks."""

from pathlib import Path
from typing import Annotated

import typer

from processor.cli.options import AsJson
from processor.cli.output import complain, say, say_json, say_table
from processor.errors import SettingsInvalid
from processor.simulator.profile import profile_settings
from processor.simulator.server import DEFAULT_PORT, serve
from processor.simulator.settings import SimulatorSettings, options, settings_from

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    epilog="Example: processor simulate --webhook-url http://127.0.0.1:8080/webhooks --set webhook_lost_rate=0.1"
)
def simulate(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = DEFAULT_PORT,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    webhook_url: Annotated[
        list[str] | None, typer.Option("--webhook-url", help="Where webhooks go in turn; may be given again.")
    ] = None,
    completion_ms: Annotated[
        str | None, typer.Option(help="Time from a run to its end, such as 200 or 50..900.")
    ] = None,
    latency_ms: Annotated[str | None, typer.Option(help="Time before each answer, such as 50 or 20..80.")] = None,
    profile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Provider profile to play, as `processor probe` writes it.")
    ] = None,
    replay: Annotated[
        str | None, typer.Option(metavar="FILE", help="Recorded conversation to play back instead, as JSON lines.")
    ] = None,
    ledger_file: Annotated[str | None, typer.Option(help="File that keeps what was executed.")] = None,
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; see --list.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List all settings and faults instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Play the provider's API until SIGTERM or Ctrl-C; the first line of output is its address.

    Faults can be changed while it runs, over HTTP.
    """
    if listed:
        _tell_options(as_json=as_json)
        return
    named = {
        "seed": seed,
        "webhook_urls": None if webhook_url is None else ",".join(webhook_url),
        "completion_ms": completion_ms,
        "latency_ms": latency_ms,
        "ledger_file": ledger_file,
        "replay_file": replay,
    }
    profiled = {} if profile is None else profile_values(profile)
    given_by_name = {name: value for name, value in named.items() if value is not None}
    settings = simulator_settings(profiled | given_by_name, given or [])
    try:
        serve(settings, host, port, lambda url: say_json({"url": url}, is_line=True) if as_json else say(url))
    except OSError as error:
        if error.filename is not None:
            raise SettingsInvalid(f"{error.filename} cannot be opened ({error.strerror})") from error
        raise SettingsInvalid(
            f"--port: {host}:{port} cannot be listened on ({error.strerror}); choose another"
        ) from error
    except ValueError as error:
        raise SettingsInvalid(str(error)) from error
    complain("the simulator stopped")


def profile_values(path: Path) -> dict[str, object]:
    """Return what a provider profile says; raises SettingsInvalid that names what is wrong."""
    try:
        return profile_settings(path)
    except OSError as error:
        raise SettingsInvalid(f"--profile {path}: it cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise SettingsInvalid(f"--profile {error}") from error


def simulator_settings(named: dict[str, object], given: list[str]) -> SimulatorSettings:
    """Return the settings of the simulator; raises SettingsInvalid that names what is wrong."""
    values = dict(named)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsInvalid(f"--set {name}: write NAME=VALUE; --list names all settings")
        values[name.strip().replace("-", "_")] = value
    try:
        return settings_from(values)
    except ValueError as error:
        raise SettingsInvalid(f"--set: {error}; `--list` shows all settings") from error


def _tell_options(*, as_json: bool) -> None:
    if as_json:
        say_json([{"name": each.name, "default": each.default, "meaning": each.doc} for each in options()])
    else:
        say_table(("name", "default", "meaning"), [(each.name, each.default, each.doc) for each in options()])
