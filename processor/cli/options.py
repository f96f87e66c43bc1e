"""Options that several commands have: the same name, the same sentence of help."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Brokers = Annotated[str | None, typer.Option("--bootstrap-servers", help="Instead of the setting.")]
Registry = Annotated[str | None, typer.Option("--schema-registry", help="Instead of the setting.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
