"""What the API tests share: judging a refusal, and addresses of our own to ask from."""
import itertools

import schema

_document = schema.load()
_schemas = schema.Schemas(_document)
_sources = itertools.count(1)


def new_source():
    """A loopback address to ask from. Ten refusals a minute from one address are recorded singly, for up to 256 addresses: a few calls share one."""
    number = next(_sources) // 5
    return f"127.7.{number // 250}.{number % 250 + 1}"


def refused(kms, answer, status, slug, event=None):
    """The answer is that problem, well formed, and the log holds one record of it, which is returned. What a front refuses itself is only counted."""
    assert (answer.status, answer.slug) == (status, slug), answer
    _schemas.check(_document["components"]["schemas"]["Problem"], answer.json)
    assert answer.json["status"] == status and answer.json["request_id"] == answer.request_id
    if answer.request_id.startswith("front-"):
        assert event is None and not kms.records(req=answer.request_id)
        return None
    record = kms.record_of(answer)
    assert record["outcome"] == "denied" and record["reason"] == slug
    assert event is None or record["event"] == event
    return record
