"""The commands by name. Each is a module that is loaded when it is asked for, so that help comes at once.

Exit codes: 0 good; 1 a finding or a negative answer; 2 wrong usage or settings; 3 something that we need is not there.
"""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from processor.cli.output import complain, say
from processor.errors import ProcessorError, SettingsInvalid, TransientError

_HELP = "Onboarding requests from Kafka, run as workflows at a provider's HTTP API, exactly one result each."
_EPILOG = "Settings come from the environment (PROCESSOR_...); `processor check` shows them."
EXIT_FINDING, EXIT_USAGE, EXIT_UNAVAILABLE = 1, 2, 3

# Name -> module below processor.cli, and the line that help shows.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "Run the roles, or some of them, in this process."),
    "demo": ("demo_command", "Do the whole job once, on servers of its own."),
    "check": ("check", "Check everything before anything is started."),
    "probe": ("probe", "Make one real run at the provider, to learn what it answers."),
    "topics": ("topics", "Create the topics that are missing, check them, or move to others."),
    "backup": ("backup", "Write a stopped deployment to a file."),
    "restore": ("backup", "Make a deployment out of such a file."),
    "schemas": ("schemas", "Register, check or lint the schemas of public events."),
    "publish": ("publish", "Publish onboarding requests from JSON lines."),
    "adopt": ("adopt", "Take over workflows that another service started."),
    "results": ("results", "Show results of onboarding requests."),
    "held": ("held", "Show what waits for a person, and decide about it."),
    "pause": ("pauses", "Pause a workflow everywhere; nothing of it is lost."),
    "resume": ("pauses", "Let a paused workflow go on."),
    "simulate": ("simulate", "Play the provider's API, faults and webhooks included."),
}


class Commands(TyperGroup):
    """A group that loads a command when it is run, and turns our errors into sentences and exit codes."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401  # types of typer's own click
        """Load the command that was asked for."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = _loaded(args[0])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # as above
        """Run the command; an error of ours ends it with a sentence a line, never with a traceback."""
        try:
            return super().invoke(ctx)
        except ProcessorError as error:
            complain(str(error))
            raise typer.Exit(exit_code_of(error)) from None


def exit_code_of(error: ProcessorError) -> int:
    """Return the exit code that an error ends a command with."""
    if isinstance(error, SettingsInvalid):
        return EXIT_USAGE
    return EXIT_UNAVAILABLE if isinstance(error, TransientError) else EXIT_FINDING


def _loaded(name: str) -> Any:  # noqa: ANN401  # as above
    """Return a command out of its module: the module's app, or the command of that name where it has several."""
    module = import_module(f"processor.cli.{COMMANDS[name][0]}")
    command = typer.main.get_command(getattr(module, f"{name}_app", None) or module.app)
    command.name = name
    return command


def _nothing() -> None:
    """Stand in for a command that is not loaded yet."""


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version  # noqa: PLC0415  # costs more than all else that help needs

        say(version("onboarding-processor"))
        raise typer.Exit


def _begin(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take what stands before the command."""


def _app() -> typer.Typer:
    app = typer.Typer(
        name="processor",
        cls=Commands,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback(help=_HELP, epilog=_EPILOG)(_begin)
    for name, (_, line) in COMMANDS.items():
        app.command(name, help=line)(_nothing)
    return app


app = _app()


def main() -> None:
    """Run a command; the entry point of `processor`."""
    app(prog_name="processor")
