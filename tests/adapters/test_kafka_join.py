"""How a member comes into its group."""

from processor.settings import Settings
from tests.support.member import Owner, member
from tests.support.ports import free_port


def test_a_member_joins_while_no_broker_answers() -> None:
    """It polls, and so comes in when one does."""
    nobody = f"127.0.0.1:{free_port()}"
    settings = {"application_id": "j", "kafka": {"bootstrap_servers": nobody}, "topics": {"requests": "j.requests"}}
    log = member(Settings.model_validate(settings), 1)
    log.join(Owner())
    assert not log.poll(0, 1)
    log.close()
