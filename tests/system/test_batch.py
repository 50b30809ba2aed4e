"""Batches: POST /v1/sign with items, against a real instance."""
import itertools
import json
import time

import pytest

from apitest import new_source
from kms import BIN, b64, canonical, pae, run, sha256

MOST = 1000
BODY_MOST = 1 << 20
_apps = itertools.count(1)


def new_app():
    return f"com.example.batch{next(_apps)}"


def item(kms, app, name, version="1.0.0", data=None, **members):
    return kms.release(version, data if data is not None else name.encode(), app=app, name=name, **members)


def batch(kms, items, **how):
    headers = {"Idempotency-Key": how.pop("key")} if "key" in how else None
    return kms.request("ci", "POST", "/v1/sign", {"items": items}, headers, **how)


def slugs(answer):
    """One word an item: the problem's slug, or "ok"."""
    assert answer.status == 200, answer
    items = answer.json["items"]
    words = [one["problem"]["type"].removeprefix("urn:kmsd:problem:") if "problem" in one else "ok" for one in items]
    assert answer.json["failed"] == len([word for word in words if word != "ok"])
    assert all(set(one) == {"problem"} for one, word in zip(items, words) if word != "ok")
    return words


def check_items(kms, items, answer):
    """Every answer stands in its request's place, binds what was asked for, and names its own record."""
    lines = kms.lines()
    seqs = set()
    assert len(answer.json["items"]) == len(items)
    for asked, got in zip(items, answer.json["items"]):
        statement = json.loads(b64(got["envelope"]["payload"]))
        assert statement["subject"] == [{"name": asked["name"], "digest": {"sha256": asked["digest"]["hex"]}}]
        assert statement["predicate"]["version"] == asked["version"] and statement["predicate"]["request_id"] == got["request_id"]
        line = lines[got["record"]["seq"]]
        record = json.loads(line)
        assert sha256(line) == got["record"]["hash"] and record["req"] == got["request_id"] and record["event"] == "sign.release"
        assert record["body_sha256"] == sha256(canonical(asked))
        seqs.add(got["record"]["seq"])
    assert len(seqs) == len(items)


@pytest.mark.parametrize("count", [1, 2, 300, MOST])
def test_as_many_as_there_are(kms, count):
    app = new_app()
    items = [item(kms, app, f"file-{n}") for n in range(count)]
    start = time.monotonic()
    answer = batch(kms, items)
    took = time.monotonic() - start
    assert slugs(answer) == ["ok"] * count
    print(f"{count} items: {took:.3f} s, {count / took:.0f}/s, {len(answer.body)} bytes")
    check_items(kms, items, answer)
    kms.check_chain()
