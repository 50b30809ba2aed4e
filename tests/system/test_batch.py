"""Batches: POST /v1/sign with items, against a real instance."""
import itertools
import json
import random
import time

import pytest

from apitest import new_source
from kms import BIN, b64, canonical, run, sha256

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
    answers, seqs = answer.json["items"], set()
    assert len(answers) == len(items)
    for asked, got in zip(items, answers):
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


def audit(kms):
    run(BIN / "kms-audit", "verify", kms.dir)


def test_the_log_of_batches_is_sound(kms):
    items = [item(kms, new_app(), "n", key=key) for key in (kms.ci_env["KMS_SIGN_KEY"], "no-such-key")]
    assert slugs(batch(kms, items, key="mixed", source=new_source())) == ["ok", "forbidden"]
    audit(kms)


# What is no batch

@pytest.mark.parametrize("body, slug, says", [
    ({"items": []}, "bad-request", "items is empty"),
    ({"items": [{}] * (MOST + 1)}, "bad-request", "items"),
    ({"items": {}}, "bad-request", "items must be an array"),
    ({"items": None}, "bad-request", "items must be an array"),
    ({"items": "a"}, "bad-request", "items must be an array"),
    ({"items": [{}], "key": "release"}, "unknown-member", "key"),
    ('{"items": [{}], "items": [{}]}', "bad-request", "duplicate"),
    ('{"items": [' + "[" * 20 + "]" * 20 + "]}", "bad-request", "nested"),
    ('{"items": [{"size": 1.0}]}', "bad-request", "whole numbers"),
    ('{"items": [{}', "bad-request", "JSON"),
    ('{"items": [' + ",".join(["[]"] * 340000) + "]}", "bad-request", "too many values"),
], ids=lambda value: value[:12] if isinstance(value, str) else None)
def test_no_batch(kms, body, slug, says):
    answer = kms.request("ci", "POST", "/v1/sign", body, source=new_source())
    assert (answer.status, answer.slug) == (400, slug) and says in answer.json["detail"], answer


def test_body_limits(kms):
    one = item(kms, new_app(), "padded")
    text = json.dumps({"items": [one]})
    answer = kms.request("ci", "POST", "/v1/sign", text + " " * (BODY_MOST - len(text)))
    assert slugs(answer) == ["ok"]
    head = b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (BODY_MOST + 1)
    assert kms.raw("ci", head, source=new_source()).startswith(b"HTTP/1.1 413 ")
    text = json.dumps(one)
    assert kms.request("ci", "POST", "/v1/sign", text + " " * (65536 - len(text))).status == 200
    answer = kms.request("ci", "POST", "/v1/sign", text + " " * (65537 - len(text)), source=new_source())
    assert (answer.status, answer.slug) == (413, "too-large"), answer
    assert slugs(batch(kms, [one, {"padding": "x" * 65536}, one], source=new_source())) == ["ok", "too-large", "ok"]


def test_longest_answer(kms):
    """As much text as a batch can hold, all of it in names, which stand twice in every statement."""
    app, room = new_app(), BODY_MOST // MOST - 2
    items = [item(kms, app, f"{n:03}" + "n" * 250, data=b"%d" % n, version="1.0.0+" + "b" * 100, source="") for n in range(MOST)]
    for one in items:
        one["source"] = "s" * (room - len(canonical(one)))
    body = canonical({"items": items})
    assert BODY_MOST * 0.97 < len(body) <= BODY_MOST
    answer = kms.request("ci", "POST", "/v1/sign", body)
    assert slugs(answer) == ["ok"] * MOST
    assert len(answer.body) < 6 << 20
    print(f"longest answer: {len(answer.body)} bytes")


# One item does not decide about another

def test_bad_items_among_good_ones(kms):
    app = new_app()
    sorts = {
        "not an object": (7, "bad-request"), "null": (None, "bad-request"), "a list": ([], "bad-request"), "empty": ({}, "bad-request"),
        "a batch": ({"items": [{}]}, "bad-request"), "other member": (item(kms, app, "a", colour="red"), "unknown-member"),
        "digest": ({**item(kms, app, "b"), "digest": {"alg": "sha256", "hex": "00"}}, "bad-digest"),
        "version": (item(kms, app, "c", version="one"), "bad-version"), "key": (item(kms, app, "d", key="no-such-key"), "forbidden"),
        "app": (item(kms, "org.elsewhere", "e"), "forbidden"), "version type": (item(kms, app, "f", version=1), "bad-request"),
    }
    items, expected = [], []
    for n, (bad, slug) in enumerate(sorts.values()):
        items += [item(kms, app, f"good-{n}"), bad]
        expected += ["ok", slug]
    answer = batch(kms, items, source=new_source())
    assert slugs(answer) == expected
    check_items(kms, items[::2], type("Half", (), {"json": {"items": answer.json["items"][::2]}}))
    problems = [one["problem"] for one in answer.json["items"][1::2]]
    assert len({problem["request_id"] for problem in problems}) == len(problems)


def test_refusals_are_recorded_as_single_ones_are(kms):
    """Ten of an address singly, the others as a count."""
    source, app = "127.9.9.9", new_app()
    answer = batch(kms, [item(kms, "org.elsewhere", f"n{n}") for n in range(50)] + [item(kms, app, "n")], source=source)
    assert slugs(answer) == ["forbidden"] * 50 + ["ok"]
    records = kms.records(src=source, outcome="denied")
    assert len(records) == 10
    assert [record["req"] for record in records] == [one["problem"]["request_id"] for one in answer.json["items"][:10]]
    assert all(record["event"] == "sign.release" and record["reason"] == "forbidden" and record["artifact"]["app"] == "org.elsewhere" for record in records)


def test_dry_runs_among_others(kms):
    app = new_app()
    answer = batch(kms, [item(kms, app, "a", dry_run=True), item(kms, app, "a"), item(kms, app, "a", dry_run=True)])
    assert slugs(answer) == ["ok"] * 3
    first, signed, last = answer.json["items"]
    assert not first["signed_before"] and last["signed_before"] and "envelope" in signed


# As two requests one after the other

def test_same_item_again(kms):
    one = item(kms, new_app(), "same")
    start = time.monotonic()
    answer = batch(kms, [one] * MOST)
    print(f"the same {MOST} times: {time.monotonic() - start:.3f} s")
    assert slugs(answer) == ["ok"] * MOST
    answers = answer.json["items"]
    assert answers == answers[:1] * MOST
    assert len(kms.records(event="sign.release", outcome="ok", artifact={"app": one["app"], "channel": one["channel"], "version": "1.0.0"})) == 1


def test_conflicts_inside_a_batch(kms):
    app = new_app()
    items = [item(kms, app, "a"), item(kms, app, "a", data=b"other"), item(kms, app, "b"), item(kms, app, "a", version="1.1.0"),
             item(kms, app, "b"), item(kms, app, "b", version="1.1.0"), item(kms, app, "c", version="1.1.0+other")]
    answer = batch(kms, items, source=new_source())
    assert slugs(answer) == ["ok", "digest-conflict", "ok", "ok", "version-not-newer", "ok", "version-not-newer"]


def one_after_the_other(items):
    """What the items would get as requests that follow each other."""
    newest, held = None, {}
    for one in items:
        version = tuple(map(int, one["version"].split(".")))
        if newest and version < newest:
            yield "version-not-newer"
            continue
        if version != newest:
            newest, held = version, {}
        yield "ok" if held.setdefault(one["name"], one["digest"]) == one["digest"] else "digest-conflict"


@pytest.mark.parametrize("seed", range(6))
def test_any_mixture_comes_out_as_in_a_row(kms, seed):
    """Each app of the batch by itself, though all of them are under way together."""
    chance = random.Random(seed)
    apps = [new_app() for _ in range(4)]
    items = []
    for n in range(400):
        version = f"1.0.{max(0, n // 40 + chance.choice([-1, 0, 0, 0, 0, 1]))}"
        items.append(item(kms, chance.choice(apps), f"name-{chance.randrange(12)}", version=version, data=chance.choice([b"a", b"a", b"b"])))
    answer = batch(kms, items, source=new_source())
    words = slugs(answer)
    for app in apps:
        places = [n for n, one in enumerate(items) if one["app"] == app]
        assert [words[n] for n in places] == list(one_after_the_other(items[n] for n in places))
    assert {"ok", "digest-conflict", "version-not-newer"} == set(words)


def test_versions_go_up_in_order(kms):
    app = new_app()
    items = [item(kms, app, "a", version=f"1.0.{n}") for n in range(MOST)]
    start = time.monotonic()
    answer = batch(kms, items)
    print(f"{MOST} versions: {time.monotonic() - start:.3f} s")
    assert slugs(answer) == ["ok"] * MOST
    check_items(kms, items, answer)
    assert slugs(batch(kms, items[::-1][:20], source=new_source())) == ["ok"] + ["version-not-newer"] * 19


# The same key, the same answer

def test_whole_batch_again(kms):
    app = new_app()
    items = [item(kms, app, f"file-{n}") for n in range(MOST)]
    first, again = batch(kms, items, key="again"), batch(kms, items, key="again")
    assert slugs(first) == ["ok"] * MOST and first.body == again.body
    assert {record["idem"] for record in kms.records(event="sign.release") if record.get("artifact", {}).get("app") == app} == {f"again:{n}" for n in range(MOST)}
    assert batch(kms, items[:3], key="again").json["items"] == first.json["items"][:3]
    assert slugs(batch(kms, items[:2] + [item(kms, app, "other")] + items[3:5], key="again", source=new_source())) == ["ok", "ok", "idempotency-conflict", "ok", "ok"]
    alone = kms.request("ci", "POST", "/v1/sign", canonical(items[7]), {"Idempotency-Key": "again:7"})
    assert alone.status == 200 and alone.json == first.json["items"][7]


def test_however_it_is_written(kms):
    """Order, spaces and escapes make no other batch of it. What is wrong in the JSON of one item is wrong for all; a member nobody knows for its item alone."""
    app = new_app()
    items = [item(kms, app, f"file-{n}", size=n, source="from hére/") for n in range(5)]
    first = batch(kms, items, key="written")
    assert slugs(first) == ["ok"] * 5
    check_items(kms, items, first)
    turned = [dict(reversed(one.items())) for one in items]
    spaced = json.dumps({"items": turned}, indent=3, ensure_ascii=False).encode()
    for body in (spaced, json.dumps({"items": items}).encode(), spaced.replace(b'"size"', b'"\\u0073ize"')):
        again = kms.request("ci", "POST", "/v1/sign", body, {"Idempotency-Key": "written"})
        assert again.status == 200 and again.body == first.body, again
    for wrong in (spaced.replace(b'"size": 3', b'"size": 3, "size": 3'), spaced.replace(b'"size": 3', b'"size": 3.0'), spaced[:-1], spaced + b"{}"):
        refused = kms.request("ci", "POST", "/v1/sign", wrong, source=new_source())
        assert refused.status == 400 and refused.json["type"] == "urn:kmsd:problem:bad-request", refused
    strange = spaced.replace(b'"size": 3', b'"sizes": 3')
    assert slugs(kms.request("ci", "POST", "/v1/sign", strange, source=new_source())) == ["ok"] * 3 + ["unknown-member", "ok"]


def test_old_answers_outlive_newer_versions(kms):
    """Without the key the first version would be refused by now."""
    app = new_app()
    items = [item(kms, app, "a", version="1.0.0"), item(kms, app, "a", version="2.0.0")]
    first = batch(kms, items, key="outlive")
    assert slugs(first) == ["ok", "ok"] and batch(kms, items, key="outlive").body == first.body
    assert slugs(batch(kms, items, source=new_source())) == ["version-not-newer", "ok"]


def test_refused_items_are_decided_anew(kms):
    app = new_app()
    items = [item(kms, app, "a"), item(kms, "org.batch", "b"), item(kms, app, "c")]
    first = batch(kms, items, key="anew", source=new_source())
    assert slugs(first) == ["ok", "forbidden", "ok"]
    policy = kms.request("admin", "GET", "/v1/policy").json["policy"]
    try:
        wider = policy.replace("com.example.*", "*")
        assert wider != policy and kms.signed("PUT", "/v1/policy", wider, {"Content-Type": "application/yaml"}).status == 200
        again = batch(kms, items, key="anew")
    finally:
        kms.signed("PUT", "/v1/policy", policy, {"Content-Type": "application/yaml"})
    assert slugs(again) == ["ok"] * 3 and again.json["items"][::2] == first.json["items"][::2]


def test_length_of_a_key(kms):
    items = [item(kms, new_app(), "a")]
    assert slugs(batch(kms, items, key="k" * 124)) == ["ok"]
    answer = batch(kms, items, key="k" * 125, source=new_source())
    assert (answer.status, answer.slug) == (400, "bad-request") and "124" in answer.json["detail"]
