"""Topics for tests, created, listed and deleted at once."""

from collections.abc import Collection

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic


def make_topic(bootstrap_servers: str, name: str, partitions: int = 1, **config: str) -> str:
    """Create a topic and return its name; `cleanup_policy="compact"` sets `cleanup.policy`, and so on."""
    settings = {key.replace("_", "."): value for key, value in config.items()}
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(20)
    return name


def topics_named(bootstrap_servers: str, prefix: str) -> list[str]:
    """Return the topics whose names begin so."""
    topics = AdminClient({"bootstrap.servers": bootstrap_servers}).list_topics(timeout=10).topics
    return [name for name in topics if name.startswith(prefix)]


def delete_topics(bootstrap_servers: str, names: Collection[str]) -> None:
    """Delete these topics, all of which are there."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for deleted in admin.delete_topics([*names]).values() if names else ():
        deleted.result(20)
