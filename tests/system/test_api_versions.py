"""Version order, repeated requests and requests at the same time: what one channel may be asked to sign, and in which bytes it is answered."""
import itertools
import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from apitest import new_source, refused
from kms import b64, canonical, pae, run, sha256

_numbers = itertools.count(1)


@pytest.fixture
def app():
    """An app that nothing was signed for yet."""
    return f"com.example.versions-{next(_numbers)}"


def sign(kms, version, data=b"bundle", **members):
    """claim: the member `source` of the request."""
    body = kms.release(version, data, **{"source" if name == "claim" else name: value for name, value in members.items() if name != "headers"})
    return kms.request("ci", "POST", "/v1/sign", body, members.get("headers"), source=new_source())


def signed(kms, *args, **members):
    answer = sign(kms, *args, **members)
    assert answer.status == 200, answer
    return answer


def statement(answer):
    return json.loads(b64(answer.json["envelope"]["payload"]))


def withdraw(kms, app, version, **more):
    body = {"app": app, "channel": kms.ci_env["KMS_CHANNEL"], "version": version, "reason": "broken build"}
    return kms.signed("POST", "/v1/releases/withdraw", body, source=new_source(), **more)


def test_lower_version(kms, app):
    signed(kms, "1.10.0", app=app)
    for version in ("1.9.99", "1.10.0-rc.1", "0.99.0", "1.10.0-0"):
        refused(kms, sign(kms, version, app=app), 409, "version-not-newer", "sign.release")
    assert "1.10.0" in sign(kms, "1.9.0", app=app).json["detail"]
    for version in ("1.10.1-alpha", "1.10.1-alpha.2", "1.10.1-alpha.10", "1.10.1", "2.0.0", "99999999999999999999999999999999.0.0"):
        signed(kms, version, app=app)
    refused(kms, sign(kms, "18446744073709551617.0.0", app=app), 409, "version-not-newer")


def test_same_name_other_digest(kms, app):
    first = signed(kms, "1.0.0", b"one", app=app)
    record = refused(kms, sign(kms, "1.0.0", b"two", app=app), 409, "digest-conflict", "sign.release")
    assert record["digest"]["hex"] == sha256(b"two")
    assert signed(kms, "1.0.0", b"one", app=app).body == first.body


def test_same_request_gets_the_stored_answer(kms, app):
    first = signed(kms, "1.0.0", app=app, size=6)
    count = len(kms.records(event="sign.release", outcome="ok"))
    again = signed(kms, "1.0.0", app=app, size=6)
    assert again.body == first.body and again.request_id != first.request_id
    assert len(kms.records(event="sign.release", outcome="ok")) == count


def test_answers_are_canonical(kms, app):
    for claim in (None, 'quoted "text", \\ and \u00e4\u20ac\U0001f600'):
        members = {"claim": claim} if claim else {}
        first = signed(kms, "1.0.0", app=app, name=f"n{len(members)}", **members)
        again = signed(kms, "1.0.0", app=app, name=f"n{len(members)}", **members)
        assert canonical(first.json) == first.body == again.body
        assert canonical(statement(first)) == b64(first.json["envelope"]["payload"])
        assert statement(first)["predicate"].get("source_claimed") == claim


@pytest.mark.parametrize("first, second", [("1.0.0", "1.0.0+build.2"), ("1.0.0+a", "1.0.0+b"), ("1.0.0+a", "1.0.0")])
def test_other_text_of_equal_precedence(kms, app, first, second):
    signed(kms, first, app=app)
    refused(kms, sign(kms, second, app=app), 409, "version-not-newer", "sign.release")
    refused(kms, sign(kms, second, app=app, name="other.zip"), 409, "version-not-newer", "sign.release")


def test_several_names(kms, app):
    names = ["app.ipa", "app.apk", "app-1.0+x.zip"]
    answers = [signed(kms, "1.0.0", name.encode(), app=app, name=name) for name in names]
    for name, answer in zip(names, answers):
        assert statement(answer)["subject"] == [{"digest": {"sha256": sha256(name.encode())}, "name": name}]
        assert signed(kms, "1.0.0", name.encode(), app=app, name=name).body == answer.body
    refused(kms, sign(kms, "1.0.0", b"changed", app=app, name="app.apk"), 409, "digest-conflict")


def test_channels_and_default_name(kms, app):
    """Channels do not know of each other; without a name the app stands for it."""
    signed(kms, "2.0.0", app=app)
    answer = signed(kms, "1.0.0", app=app, channel="beta")
    assert statement(answer)["predicate"]["name"] == app
    assert signed(kms, "1.0.0", app=app, channel="beta", name=app).body == answer.body


def test_withdraw(kms, app):
    refused(kms, withdraw(kms, app, "1.0.0"), 404, "not-found", "release.withdraw")
    signed(kms, "1.0.0", app=app)
    signed(kms, "1.1.0", app=app)
    refused(kms, withdraw(kms, app, "1.0.0"), 404, "not-found", "release.withdraw")
    answer = withdraw(kms, app, "1.1.0")
    assert answer.status == 200 and kms.record_of(answer)["event"] == "release.withdraw"
    for members in ({}, {"name": "new.zip"}):
        refused(kms, sign(kms, "1.1.0", app=app, **members), 409, "release-withdrawn", "sign.release")
    refused(kms, sign(kms, "1.0.0", app=app), 409, "version-not-newer")
    refused(kms, withdraw(kms, app, "1.1.0"), 409, "release-withdrawn", "release.withdraw")
    signed(kms, "1.1.1", app=app)


def test_dry_run_leaves_no_trace(kms, app):
    answer = signed(kms, "1.0.0", app=app, dry_run=True)
    assert answer.json["decision"] == "allow" and answer.json["signed_before"] is False
    assert not kms.records(req=answer.request_id)
    signed(kms, "1.0.0", app=app)
    assert signed(kms, "1.0.0", app=app, dry_run=True).json["signed_before"] is True
    refused(kms, sign(kms, "0.9.0", app=app, dry_run=True), 409, "version-not-newer")


# Idempotency-Key

def test_replay_is_byte_for_byte(kms, app):
    """Also after the channel has moved on: marks are not asked again."""
    key = {"Idempotency-Key": f"replay-{uuid.uuid4()}"}
    first = signed(kms, "1.0.0", app=app, headers=key)
    signed(kms, "1.1.0", app=app)
    again = signed(kms, "1.0.0", app=app, headers=key)
    assert (again.body, again.type) == (first.body, first.type)
    refused(kms, sign(kms, "1.0.0", app=app), 409, "version-not-newer")
    assert kms.record_of(first)["idem"] == key["Idempotency-Key"]


def test_other_body_under_the_same_key(kms, app):
    key = {"Idempotency-Key": f"conflict-{uuid.uuid4()}"}
    signed(kms, "1.0.0", app=app, headers=key)
    refused(kms, sign(kms, "1.0.1", app=app, headers=key), 409, "idempotency-conflict", "sign.release")
    refused(kms, sign(kms, "1.0.0", app=app, size=6, headers=key), 409, "idempotency-conflict", "sign.release")


def test_refusals_are_not_kept(kms, app):
    key = {"Idempotency-Key": f"refused-{uuid.uuid4()}"}
    refused(kms, withdraw(kms, app, "1.0.0", headers=key), 404, "not-found")
    signed(kms, "1.0.0", app=app)
    assert withdraw(kms, app, "1.0.0", headers=key).status == 200


def test_key_creation_once(kms):
    key, name = {"Idempotency-Key": f"key-{uuid.uuid4()}"}, f"idem-{next(_numbers)}"
    body = {"name": name, "algorithm": "p256", "scheme": "statement"}
    first = kms.signed("POST", "/v1/keys", body, headers=key)
    again = kms.signed("POST", "/v1/keys", body, headers=key)
    assert first.status == again.status == 201 and first.body == again.body
    refused(kms, kms.signed("POST", "/v1/keys", body, source=new_source()), 409, "already-exists", "key.create")
    assert [r["outcome"] for r in kms.records(event="key.create") if r.get("key", {}).get("name") == name] == ["intent", "ok", "denied"]


def test_person_once(kms):
    """A repeated creation of a person gives the same handle, not a second one."""
    key = {"Idempotency-Key": f"person-{uuid.uuid4()}"}
    _, csr = kms.csr("once", "/")
    _, line = kms.ssh_key("twice")
    ssh = line.split()
    body = {"kind": "human", "csr": csr, "ssh": [" ".join(ssh[:2])]}
    first = kms.signed("POST", "/v1/identities", body, headers=key)
    again = kms.signed("POST", "/v1/identities", body, headers=key)
    assert first.status == again.status == 201 and first.body == again.body


def test_replay_after_restart(own_kms):
    key = {"Idempotency-Key": "across-a-restart"}
    first = signed(own_kms, "1.0.0", headers=key)
    signed(own_kms, "1.1.0")
    own_kms.stop()
    own_kms.start()
    assert signed(own_kms, "1.0.0", headers=key).body == first.body
    refused(own_kms, sign(own_kms, "1.0.5"), 409, "version-not-newer")
    own_kms.check_chain()


# At the same time

def at_once(work, items, workers=16):
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, items))


def test_concurrent_duplicates(kms, app):
    key = {"Idempotency-Key": f"duplicate-{uuid.uuid4()}"}
    answers = at_once(lambda _: sign(kms, "1.0.0", app=app, headers=key), range(16))
    assert {a.status for a in answers} == {200} and len({a.body for a in answers}) == 1
    assert len([r for r in kms.records(event="sign.release", outcome="ok") if r["artifact"]["app"] == app]) == 1


def test_concurrent_names(kms, app):
    answers = at_once(lambda n: sign(kms, "1.0.0", b"%d" % n, app=app, name=f"part-{n}"), range(32))
    assert {a.status for a in answers} == {200} and len({a.json["record"]["seq"] for a in answers}) == 32


def test_concurrent_digests(kms, app):
    """One name in one version: whoever comes first wins, everybody else is told so."""
    answers = at_once(lambda n: sign(kms, "1.0.0", b"%d" % n, app=app), range(16))
    assert sorted(a.status for a in answers) == [200] + [409] * 15
    assert {a.slug for a in answers} == {"", "digest-conflict"}


def test_concurrent_versions(kms, app):
    answers = at_once(lambda n: sign(kms, f"1.0.{n}", app=app), range(16))
    assert {a.slug for a in answers} <= {"", "version-not-newer"}
    won = sorted((a.json["record"]["seq"], statement(a)["predicate"]["version"]) for a in answers if a.status == 200)
    patches = [int(version.rpartition(".")[2]) for _, version in won]
    assert patches and patches == sorted(patches) and patches[-1] == 15


def test_concurrent_channels(kms, app):
    answers = at_once(lambda n: sign(kms, "1.0.0", app=f"{app}.{n}"), range(32))
    assert {a.status for a in answers} == {200}


def test_concurrent_creations(kms):
    """One name, many at once: one of them wins, and the token is asked for one key."""
    key, identity = f"race-{next(_numbers)}", f"race-{next(_numbers)}"
    csr = kms.csr(identity)[1]
    for path, body in (("/v1/keys", {"name": key, "algorithm": "p256", "scheme": "statement"}),
                       ("/v1/identities", {"kind": "ci", "name": identity, "csr": csr})):
        answers = at_once(lambda _: kms.signed("POST", path, body, source=new_source()), range(8), 8)
        assert sorted(a.status for a in answers) == [201] + [409] * 7 and {a.slug for a in answers} == {"", "already-exists"}
    assert len([r for r in kms.records(event="key.create", outcome="intent") if r["key"]["name"] == key]) == 1
    assert len([r for r in kms.records(event="identity.create", outcome="ok") if r["detail"]["identity"]["name"] == identity]) == 1


# What was signed

def test_envelope_with_plain_openssl(kms, app, tmp_path):
    answer = signed(kms, "1.0.0", b"some bytes", app=app, name="bundle.zip", size=10, claim="commit 4f1c2d9")
    pem = kms.request("ci", "GET", f"/v1/keys/{kms.ci_env['KMS_SIGN_KEY']}/public")
    envelope = answer.json["envelope"]
    payload, signature = b64(envelope["payload"]), b64(envelope["signatures"][0]["sig"])
    (tmp_path / "pub").write_bytes(pem.body)
    (tmp_path / "sig").write_bytes(signature)
    (tmp_path / "pae").write_bytes(pae(payload, envelope["payloadType"]))
    verify = ("openssl", "dgst", "-sha256", "-verify", tmp_path / "pub", "-signature", tmp_path / "sig", tmp_path / "pae")
    assert run(*verify).stdout == b"Verified OK\n"
    (tmp_path / "pae").write_bytes(pae(payload.replace(b"1.0.0", b"1.0.1"), envelope["payloadType"]))
    assert run(*verify, check=False).returncode == 1
    der = run("openssl", "pkey", "-pubin", "-in", tmp_path / "pub", "-outform", "DER").stdout
    assert envelope["signatures"][0]["keyid"] == sha256(der)


def test_statement_says_what_the_record_says(kms, app):
    answer = signed(kms, "1.0.0", b"some bytes", app=app, name="bundle.zip", size=10, claim="commit 4f1c2d9")
    record, lines = kms.record_of(answer), kms.lines()
    got, genesis = statement(answer), json.loads(lines[0])
    head = got["predicate"].pop("log_head")
    assert sha256(lines[head["seq"]]) == head["hash"] and head["seq"] < record["seq"]
    assert got == {
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://kmsd.dev/release/v1",
        "subject": [{"digest": {"sha256": sha256(b"some bytes")}, "name": "bundle.zip"}],
        "predicate": {"app": app, "channel": kms.ci_env["KMS_CHANNEL"], "environment": "development", "instance": genesis["detail"]["instance"],
                      "issued": record["detail"]["issued"], "key": {"name": kms.ci_env["KMS_SIGN_KEY"], "version": 1}, "name": "bundle.zip",
                      "request_id": answer.request_id, "size": 10, "source_claimed": "commit 4f1c2d9", "version": "1.0.0"}}
    assert answer.json["record"] == {"seq": record["seq"], "hash": sha256(lines[record["seq"]])}
    assert record["signature"] == answer.json["envelope"]["signatures"][0]["sig"] and record["actor"]["name"] == kms.ci.name
