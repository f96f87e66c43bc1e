"""`python -m processor`: the commands."""

from processor.cli.main import main

main()
