"""One sign request spelled in two ways: as most clients do, which the core reads where it stands, and with escapes, which goes through a tree. Alone or in a batch,
the answer is the same, and kms-audit takes what is recorded."""
import itertools
import json

import pytest

from kms import BIN, b64, run, sha256

NAMES = (f"com.example.spelled{n}" for n in itertools.count(1))
MOST = 2 ** 53 - 1


class Raw(str):
    """Stands in the text as it is."""


def plain(value):
    """As compact as it gets, nothing escaped."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(f"{plain(name)}:{plain(one)}" for name, one in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def escaped(value):
    """Every character of every name and text as \\uXXXX."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return " {\n" + " ,\t".join(f"{escaped(name)} : {escaped(one)}" for name, one in value.items()) + " } "
    if isinstance(value, str):
        units = value.encode("utf-16-be", "surrogatepass")
        return '"' + "".join(f"\\u{units[n]:02x}{units[n + 1]:02X}" for n in range(0, len(units), 2)) + '"'
    return json.dumps(value)


def send(kms, text):
    return kms.request("ci", "POST", "/v1/sign", text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))


def outcome(answer):
    return (answer.status, answer.slug if answer.status != 200 else "")


def signed(answer):
    """What was signed, without what tells one request from another."""
    payload = json.loads(b64(answer["envelope"]["payload"]))
    for member in ("request_id", "issued", "log_head", "app"):
        del payload["predicate"][member]
    return payload


def ask(kms, **members):
    body = {**kms.release("1.0.0", app=next(NAMES), name="file"), **members}
    return {name: value for name, value in body.items() if value is not ...}


@pytest.mark.parametrize("members, status", [
    ({}, 200), ({"size": 0}, 200), ({"size": MOST}, 200), ({"source": "a" * 512}, 200), ({"source": "\u00e4\u2028\u202e\ufffd\U0001f511\uffff"}, 200), ({"source": "/\u0080\u009f"}, 200),
    ({"source": ""}, 200), ({"name": "n" * 255}, 200), ({"version": "1.0.0-" + "x" * 122}, 200), ({"name": "a+b.zip"}, 200), ({"source": Raw("null")}, 400), ({"name": ""}, 400),
    ({"dry_run": False}, 200), ({"receipt": False}, 200), ({"dry_run": "true"}, 400), ({"dry_run": 1}, 400), ({"dry_run": Raw("truex")}, 400), ({"dry_run": Raw("True")}, 400),
    ({"size": MOST + 1}, 400), ({"size": Raw("-0")}, 400), ({"size": Raw("-1")}, 400), ({"size": Raw("1.0")}, 400), ({"size": Raw("1e2")}, 400), ({"size": Raw("01")}, 400),
    ({"size": Raw("18446744073709551617")}, 400), ({"size": Raw("")}, 400), ({"size": "1"}, 400), ({"source": "a" * 513}, 400), ({"source": "\x7f"}, 400),
    ({"source": "\ud800"}, 400), ({"source": "\udc00\ud800"}, 400), ({"name": "\u00e4"}, 400), ({"name": "a b"}, 400), ({"app": ...}, 400), ({"app": "\u212aelvin"}, 400),
    ({"digest": {}}, 400), ({"digest": {"alg": "sha256", "hex": "A" * 64}}, 400), ({"digest": {"alg": "sha256", "hex": "a" * 64, "more": 1}}, 400),
    ({"digest": {"alg": "sha256", "hex": {"hex": "a" * 64}}}, 400), ({"digest": "sha256"}, 400), ({"more": 1}, 400), ({"": 1}, 400), ({"K\u00e9y": "x"}, 400)])
def test_both_spellings(kms, members, status):
    alone = [send(kms, spell(ask(kms, **members))) for spell in (plain, escaped)]
    assert len({outcome(answer) for answer in alone}) == 1 and alone[0].status == status, alone
    together = [send(kms, '{"items":[' + ",".join(spell(ask(kms, **members)) for _ in range(2)) + "]}") for spell in (plain, escaped)]
    assert len({answer.status for answer in together}) == 1, together
    if together[0].status == 200: # where an item can be told from the next; what is no JSON is none of all
        slugs = [one.get("problem", {}).get("type", "") for answer in together for one in answer.json["items"]]
        assert {slug.rpartition(":")[2] for slug in slugs} == {alone[0].slug if status != 200 else ""}, slugs
    if status == 200:
        answers = [answer.json for answer in alone] + [one for answer in together for one in answer.json["items"]]
        assert all(signed(one) == signed(answers[0]) for one in answers)


@pytest.mark.parametrize("spell", [plain, escaped])
@pytest.mark.parametrize("edit", [
    lambda text: text[:-1] + b',"key":"ci-release"}', lambda text: text[:-1] + b',"k\\u0065y":"ci-release"}', lambda text: text[:-1] + b',"":0,"":0}', lambda text: text + b"x",
    lambda text: text + b"{}", lambda text: text + b"\0", lambda text: b"\xef\xbb\xbf" + text, lambda text: text[:-1], lambda text: text[:-1] + b",}", lambda text: b"[" + text + b"]",
    lambda text: text[:-1] + b',"source":"\xed\xa0\x80"}', lambda text: text[:-1] + b',"source":"\xc0\xaf"}', lambda text: text[:-1] + b',"source":"\xf4\x90\x80\x80"}',
    lambda text: text[:-1] + b',"source":"\0"}', lambda text: text[:-1] + b',"source":"\\u0000"}', lambda text: text[:-1] + b',"source":"\n"}', lambda text: text[:-1] + b'/**/}',
    lambda text: text[:-1] + b",'source':'x'}", lambda text: text[:-1] + b',source:"x"}', lambda text: text.replace(b":", b"=", 1), lambda text: text[:-1] + b',"size":1,"size":1}',
    lambda text: text[:-1] + b',"digest":{"alg":"sha256","hex":"' + b"0" * 64 + b'"}}'])
def test_what_is_no_request(kms, spell, edit):
    before = len(kms.records(event="sign.release", outcome="ok"))
    text = spell(ask(kms)).strip().encode()
    batches = (b'{"items":[' + edit(text) + b"]}", edit(b'{"items":[' + text + b"]}"))
    for body in (edit(text), *batches):
        answer = send(kms, body)
        items = answer.json.get("items") if answer.status == 200 else None
        assert answer.status == 400 or (items and answer.json["failed"] == len(items) == 1), (body, answer)
    assert len(kms.records(event="sign.release", outcome="ok")) == before


def test_the_log_of_all_that(kms):
    """A record of a request that was read quickly is none that others read otherwise."""
    key = "spelled" + "k" * 117
    items = [ask(kms, name="n" * 255, version="1.0.0-" + "x" * 122, source="\u2028" * 170, size=MOST) for _ in range(3)]
    answer = kms.request("ci", "POST", "/v1/sign", plain({"items": Raw("[" + ",".join(map(plain, items)) + "]")}).encode(), {"Idempotency-Key": key})
    again = kms.request("ci", "POST", "/v1/sign", '{"items":[' + ",".join(map(escaped, items)) + "]}", {"Idempotency-Key": key})
    assert answer.status == 200 and answer.json["failed"] == 0 and again.body == answer.body
    lines = kms.lines()
    for one in answer.json["items"]:
        assert sha256(lines[one["record"]["seq"]]) == one["record"]["hash"]
    run(BIN / "kms-audit", "verify", kms.dir)
