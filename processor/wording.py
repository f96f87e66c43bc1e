"""How sentences for people are put together."""


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun: `1 member`, `2 members`; `several` is what no `s` makes of the noun."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"
