"""Where the Avro schemas lie: inside the installed package, or beside it in a checkout."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parent.parent / "schemas"


def schemas() -> Traversable:
    """Return the folder of `*.avsc` files.

    Raises FileNotFoundError where the program was installed without them.
    """
    packaged = files("processor") / "schemas"
    if packaged.is_dir():
        return packaged
    if _CHECKOUT.is_dir():
        return _CHECKOUT
    raise FileNotFoundError("no Avro schemas: neither in the package nor beside it; install the wheel again")


def schema_text(name: str) -> str:
    """Return the text of one schema by its file's name without `.avsc`, for example `OnboardingRequested`.

    Raises FileNotFoundError when no such schema is shipped.
    """
    return (schemas() / f"{name}.avsc").read_text(encoding="utf-8")


def schema_names() -> tuple[str, ...]:
    """Name every schema that is shipped, sorted."""
    return tuple(
        sorted(entry.name.removesuffix(".avsc") for entry in schemas().iterdir() if entry.name.endswith(".avsc"))
    )
