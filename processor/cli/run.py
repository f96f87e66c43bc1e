"""`processor run`: the roles, until SIGTERM."""

import os
import sys
from functools import partial
from typing import Annotated, NoReturn

import typer

from processor.errors import SettingsInvalid
from processor.roles.process import Role
from processor.roles.process import run as run_roles
from processor.settings import Settings
from processor.settings_files import SettingsSource
from processor.settings_loading import Need, load_settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)


Roles = Annotated[list[Role] | None, typer.Argument(metavar="ROLE", help="None: all three.")]


@app.command(epilog="Example: processor run, or processor run submitter reconciler")
def run(roles: Roles = None) -> None:
    """Run roles in this process until SIGTERM or Ctrl-C; none named: all of them.

    submitter prepares requests and runs workflows, ingestor takes webhooks, reconciler reads what became of
    workflows and publishes results. Settings come from the environment.
    """
    chosen = roles or []
    source = SettingsSource(os.environ, partial(settings_of, chosen, are_files_tried=False))
    _leave(run_roles(settings_of(chosen), chosen, source))


def _leave(code: int) -> NoReturn:
    """End here and now: everything was committed and closed before.

    A thread that still stands in a look-up of librdkafka, where no broker answers, may crash an interpreter that is
    taken down around it: one stop in some 2,000 ended with SIGSEGV.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def settings_of(roles: list[Role], *, are_files_tried: bool = True) -> Settings:
    """Return the settings that these roles cannot do without; raises SettingsInvalid."""
    if set(roles) != {Role.INGESTOR}:
        return load_settings(os.environ, are_files_tried=are_files_tried)
    settings = load_settings(os.environ, needs=frozenset({Need.KAFKA}), are_files_tried=are_files_tried)
    if not (settings.webhook.key_base_url or settings.api.base_url):
        raise SettingsInvalid(
            "PROCESSOR_WEBHOOK__KEY_BASE_URL is not set; set it, or PROCESSOR_API__BASE_URL, to where the provider "
            "publishes the keys of its webhooks"
        )
    return settings
