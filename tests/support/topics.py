"""Topics for tests, created and described at once."""

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic


def make_topic(bootstrap_servers: str, name: str, partitions: int = 1, **config: str) -> str:
    """Create a topic and return its name; `cleanup_policy="compact"` sets `cleanup.policy`, and so on."""
    settings = {key.replace("_", "."): value for key, value in config.items()}
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(10)
    return name
