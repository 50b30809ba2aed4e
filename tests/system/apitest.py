"""What the API tests share: judging a refusal, and addresses of our own to ask from."""
import itertools

import schema

_document = schema.load()
_schemas = schema.Schemas(_document)
_sources = itertools.count(1)


def new_source():
    """A loopback address that nobody asked from yet: singly recorded refusals are limited by identity and address."""
    number = next(_sources)
    return f"127.7.{number // 250}.{number % 250 + 1}"


def refused(kms, answer, status, slug, event=None, recorded=True):
    """The answer is that problem, well formed, and the log holds one record of it; returns the record."""
    assert (answer.status, answer.slug) == (status, slug), answer
    _schemas.check(_document["components"]["schemas"]["Problem"], answer.json)
    assert answer.json["status"] == status and answer.json["request_id"] == answer.request_id
    if not recorded:
        return None
    record = kms.record_of(answer)
    assert record["outcome"] == "denied" and record["reason"] == slug
    assert event is None or record["event"] == event
    return record
