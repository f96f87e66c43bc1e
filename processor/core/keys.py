"""The one canonical spelling of ids, wherever an id becomes a key: two spellings would be two states."""


def canonical_id(text: str) -> str:
    """Return the spelling of a provider's id that keys use: trimmed and in lower case."""
    return text.strip().lower()


def budget_of(provider: str, workflow: str) -> str:
    """Return what a permit is asked for: a profile's budget, for one workflow; neither name holds a slash."""
    return f"{provider}/{workflow}"


def launch_key(record_id: str | None, case_id: str | None, request_id: str) -> str:
    """Return the key under which `launch` holds a request: its record or case, else the request itself."""
    return canonical_id(record_id or "") or canonical_id(case_id or "") or request_id
