"""The end of a workflow behind a version 3 link is told to launch, which would start another for one more link."""

from dataclasses import replace

import pytest

from processor.core.catalogue import Catalogue, Mode, Workflow
from processor.core.completion import Completion
from processor.core.messages import Finished, LinkOver
from processor.core.model import ApiVersion
from tests.core.workflows import ORIGIN, STARTED, Run, result, status, webhook

LINKED = Completion(Catalogue({"person-check": Workflow("person-check", "definition-1", mode=Mode.LINK)}))
V3 = replace(STARTED, origin=replace(ORIGIN, api=ApiVersion.TABLES))


@pytest.mark.parametrize(
    "started, key",
    [
        (V3, "rec-1"),
        (replace(V3, record_id=" REC-2 "), "rec-2"),
        (replace(V3, record_id=None), "request-1"),
    ],
)
def test_launch_hears_that_a_request_with_a_version_3_link_is_over(started: object, key: str) -> None:
    """With the result, under the key that launch holds the request by."""
    run = Run(completion=LINKED)
    run.told(started, webhook(), status("COMPLETED"), result())  # type: ignore[arg-type]
    ended, over = run.outputs[-2:]
    assert isinstance(ended, Finished)
    assert over == LinkOver(key, "request-1")


@pytest.mark.parametrize("run", [Run(completion=LINKED), Run()], ids=["version 2", "no link"])
def test_nobody_is_told_where_nobody_asks(run: Run) -> None:
    """A link of versions 1 and 2 was over when its workflow showed itself, and a plain run has none."""
    run.told(STARTED if run.completion is LINKED else V3, webhook(), status("COMPLETED"), result())
    assert [type(output) for output in run.outputs] == [Finished]
