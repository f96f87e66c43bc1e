"""The auditor's rules for links, tokens and mails, and for what is told on the way."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from uuid import uuid5

from tests.support.audit_runs import NAMESPACE
from tests.support.testimony import Case, Issued


def links_are_asked_for(case: Case) -> Iterator[str]:
    """Each link event is about a request with an end user, has a number that was asked for, and is its only one."""
    for (request_id, attempt), count in Counter(
        (each.request_id, each.attempt) for each in case.evidence.issued
    ).items():
        if request_id not in case.requests or not case.terms(request_id).has_user:
            yield f"{request_id}: a link that nobody asked for"
        elif attempt not in case.numbers(request_id):
            yield f"{request_id}: link {attempt}, which nobody asked for"
        if count > 1:
            yield f"{request_id}: {count} events of link {attempt}"


def link_events_are_in_place(case: Case) -> Iterator[str]:
    """A link event has the id that anybody can compute and its request's key, and stands behind those before it."""
    for each in case.evidence.issued:
        if each.event_id != str(uuid5(NAMESPACE, f"OnboardingLinkIssued/{each.attempt}/{each.request_id}")):
            yield f"{each.request_id}: event id {each.event_id} of link {each.attempt}"
        if each.request_id in case.requests and each.key != case.key(each.request_id):
            yield f"{each.request_id}: link {each.attempt} has another key"
    for request_id in case.requests:
        issued = sorted(case.issued(request_id), key=lambda each: each.attempt)
        if any(_place(one) > _place(other) for one, other in pairwise(issued)):
            yield f"{request_id}: its links do not stand in order"


def _place(issued: Issued) -> tuple[int, int]:
    return issued.partition, issued.offset


def links_are_real(case: Case) -> Iterator[str]:
    """What a link event holds was made by the provider for that request, and is handed out once."""
    made = {link.secret_hash: link for link in case.evidence.links}
    for secret_hash, count in Counter(each.secret_hash for each in case.evidence.issued if each.secret_hash).items():
        if count > 1:
            yield f"{made[secret_hash].request_id if secret_hash in made else '?'}: one link in {count} events"
    for request_id in case.requests:
        terms, mails = case.terms(request_id), _mails(case, request_id)
        for each in case.issued(request_id):
            if terms.mode == "mail":
                if each.secret_hash is not None:
                    yield f"{request_id}: a mailed link was published too"
            elif each.secret_hash not in made:
                yield f"{request_id}: link {each.attempt} was never made"
            elif made[each.secret_hash].request_id != request_id:
                yield f"{request_id}: link {each.attempt} is one of {made[each.secret_hash].request_id}"
        if terms.mode == "mail" and len(case.issued(request_id)) > mails:
            yield f"{request_id}: told of {len(case.issued(request_id))} mails, and {mails} were sent"


def one_mail_a_link(case: Case) -> Iterator[str]:
    """Nobody gets two mails for one link: there are no more than numbers that were asked for."""
    for request_id in case.requests:
        mails, wanted = _mails(case, request_id), len(case.numbers(request_id))
        if mails > wanted:
            yield f"{request_id}: {mails} mails for {wanted} links"


def what_was_not_started_has_no_link(case: Case) -> Iterator[str]:
    """A request that ended NOT_STARTED mailed nothing and handed no link out."""
    for request_id in case.requests:
        if any(result.outcome == "NOT_STARTED" for result in case.results(request_id, 1)):
            if _mails(case, request_id):
                yield f"{request_id}: NOT_STARTED, but mailed"
            if case.issued(request_id):
                yield f"{request_id}: NOT_STARTED, but a link was issued"


def progress_is_told_once(case: Case) -> Iterator[str]:
    """No step is told twice, and a further link is issued or refused, not both."""
    for event_id, count in Counter(each.event_id for each in case.evidence.progress).items():
        if count > 1:
            each = next(each for each in case.evidence.progress if each.event_id == event_id)
            yield f"{each.request_id}: {each.step} of attempt {each.attempt} told {count} times"
    issued = {(each.request_id, each.attempt) for each in case.evidence.issued}
    for each in case.evidence.progress:
        if each.step == "LINK_REFUSED" and (each.request_id, each.attempt) in issued:
            yield f"{each.request_id}: link {each.attempt} was issued and refused"


def _mails(case: Case, request_id: str) -> int:
    return sum(link.mode == "mail" for link in case.links(request_id))
