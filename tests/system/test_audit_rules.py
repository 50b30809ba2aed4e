"""kms-audit against logs whose chain, lines and signatures are in order, and in which a service breaks its own rules."""
import pytest

from auditlog import BIRTH, POLICY_1, canonical
from test_audit import check, keys, log, original  # noqa: F401


def found(log, folder):  # noqa: F811
    """(kind, first record, reason) of each finding."""
    report = check(log, folder)
    assert report["exit"] == (1 if report["findings"] else 0), report
    return [(f["kind"], f["records"][0], f["reason"]) for f in report["findings"]]


def one(log, folder, words):  # noqa: F811
    """The last record, and nothing else, is found to be invalid for that reason."""
    kind, seq, reason = only(found(log, folder))
    assert (kind, seq) == ("invalid", len(log.lines) - 1) and words in reason, reason


def only(findings):
    assert len(findings) == 1, findings
    return findings[0]


# Keys


def test_a_stopped_key_under_another_name(log, tmp_path):  # noqa: F811
    """The same key of the token, recorded again as a new one, would sign on."""
    log.life("compromise", "retired")
    log.key_result(log.key_intent("fresh", "03" * 16), log.keys.spki["release"])
    one(log, tmp_path, "public key")


@pytest.mark.parametrize("name", ["ca", "checkpoint"])
def test_a_key_for_other_purposes_as_a_release_key(log, tmp_path, name):  # noqa: F811
    spki = log.keys.spki["ca"] if name == "ca" else log.keys.spki["other"]
    log.key_result(log.key_intent("fresh", "03" * 16), spki)
    one(log, tmp_path, "public key")


@pytest.mark.parametrize("members", [{"actor": {"name": "h-ffffffffffffffff", "kind": "human", "cred": "ad" * 32, "method": "mtls"}}, {"rule": "admin/other"}])
def test_a_creation_ended_by_somebody_else(log, tmp_path, members):  # noqa: F811
    """Who asked for a key is in its intent; the result cannot say that it was another person, or another rule of the same policy."""
    result = log.key_result(log.key_intent("fresh", "03" * 16), log.keys.spki["spare"])
    result.update(members)
    log.rechain(len(log.lines) - 1)
    kind, seq, reason = only(sorted(found(log, tmp_path))[:1])
    assert kind == "invalid" and seq == result["seq"]


def fresh(log, without=(), **birth):  # noqa: F811
    result = log.key_result(log.key_intent("fresh", "03" * 16), log.keys.spki["spare"])
    result["detail"]["birth"] = {name: value for name, value in {**BIRTH, **birth}.items() if name not in without}
    log.rechain(len(log.lines) - 1)


@pytest.mark.parametrize("birth, words", [
    ({"extractable": True}, "extractable"), ({"never_extractable": False}, "never_extractable"), ({"sensitive": False}, "sensitive"),
    ({"local": False}, "local"), ({"decrypt": True}, "decrypt"), ({"sign_recover": True}, "sign_recover"), ({"without": ["private"]}, "private"),
    ({"not_enforced": ["extractable", "sensitive"]}, "not_enforced"), ({"allowed_mechanisms": ["CKM_RSA_X_509"]}, "allowed_mechanisms"),
    ({"adds_digest_info": True}, "adds_digest_info"), ({"modifiable": True}, "modifiable")])
def test_a_key_that_may_leave_its_token(log, tmp_path, birth, words):  # noqa: F811
    """What a token says of such a key is in the record; the service does not use it."""
    fresh(log, **birth)
    one(log, tmp_path, words)


def test_tokens_that_do_not_keep_to_all(log, tmp_path):  # noqa: F811
    """What the service knows of a kind of token is no fault of the log, but the reader is told."""
    fresh(log, ["copyable", "local"], extractable=True, not_enforced=["copyable", "extractable", "local"])
    report = check(log, tmp_path)
    assert report["exit"] == 0 and any("extractable, local" in note for note in report["notes"]), report


def test_keys_that_sessions_may_copy(log, tmp_path):  # noqa: F811
    fresh(log, copyable=True, modifiable=True)
    assert found(log, tmp_path) == []


def born(log, key, **birth):  # noqa: F811
    detail = log.records[0]["detail"]
    detail[key] = dict(detail[key], birth=dict(BIRTH, allowed_mechanisms=detail[key]["birth"]["allowed_mechanisms"], **birth))
    log.rechain(0)


@pytest.mark.parametrize("key", ["ca", "checkpoint"])
def test_the_first_keys_may_not_leave_it_either(log, tmp_path, key):  # noqa: F811
    born(log, key, extractable=True)
    assert ("invalid", 0, key + ": birth says that extractable is not false") in found(log, tmp_path)


@pytest.mark.parametrize("key", ["ca", "checkpoint"])
def test_no_session_copies_the_first_keys(log, tmp_path, key):  # noqa: F811
    born(log, key, copyable=True, modifiable=True)
    assert ("invalid", 0, key + ": birth says that modifiable or copyable is true, which no key of this kind is made to be") in found(log, tmp_path)


def test_no_session_copies_a_key_of_another_algorithm(log, tmp_path):  # noqa: F811
    fresh(log, copyable=True, modifiable=True)
    log.records[-2]["detail"]["algorithm"] = "p384"
    log.rechain(len(log.lines) - 2)
    assert any("no key of this kind" in text for _, _, text in found(log, tmp_path))


# Releases


def test_one_release_twice(log, tmp_path):  # noqa: F811
    """Whoever asks again gets the answer of before, not a second signature."""
    log.sign("3.0.0")
    log.sign("3.0.0")
    one(log, tmp_path, "signed twice")


@pytest.mark.parametrize("head", [-1, 7])
def test_a_statement_older_than_what_it_binds(log, tmp_path, head):  # noqa: F811
    """A signature made today that says it was issued before the key was marked compromised, say."""
    log.sign("3.0.0", head=head % len(log.lines), issued=log.records[6]["time"])
    one(log, tmp_path, "issued")


def test_a_statement_as_old_as_what_it_binds(log, tmp_path):  # noqa: F811
    log.sign("3.0.0", head=7, issued=log.records[7]["time"])
    assert found(log, tmp_path) == []


@pytest.mark.parametrize("change, words", [
    (lambda r: r["detail"].update(colour="red"), "detail: member colour is not one of"), (lambda r: r.update(colour="red"), "member colour is not one of"),
    (lambda r: r["detail"]["log_head"].pop("seq"), "detail: log_head: member seq is missing"), (lambda r: r["key"].update(version="1"), "key: member version has"),
    (lambda r: r["actor"].update(mood="good"), "actor: member mood is not one of")])
def test_a_wrong_member_is_named(log, tmp_path, change, words):  # noqa: F811
    record = log.sign("3.0.0")
    change(record)
    log.rechain(record["seq"])
    kind, seq, reason = only(found(log, tmp_path))
    assert (kind, seq) == ("altered", record["seq"]) and words in reason, reason


# Identities


def made(log, body, identity, **detail):  # noqa: F811
    return log.person("identity.create", "POST", "/v1/identities", canonical(body), members={"detail": dict(detail, identity=identity)})


def person(log, key="stranger", name="h-0123456789abcdef", cert=None):  # noqa: F811
    """A person who is bound by a certificate that the signed request holds."""
    pem = log.keys.pem(cert or "person")
    return made(log, {"kind": "human", "certificate": pem, "ssh": [log.keys.ssh[key]]},
                {"name": name, "kind": "human", "ssh": [log.keys.ssh[key]], "credentials": [log.keys.bound(cert or "person")]})


def test_a_person_with_a_certificate_of_another_ca(log, tmp_path):  # noqa: F811
    person(log)
    assert found(log, tmp_path) == []


def test_one_ssh_key_of_two_people(log, tmp_path):  # noqa: F811
    """Or one person could be two."""
    person(log, key="admin")
    one(log, tmp_path, "SSH key")


def test_a_ca_as_a_client(log, tmp_path):  # noqa: F811
    person(log, cert="ca")
    one(log, tmp_path, "no certificate of a client")


def test_one_name_of_two_identities(log, tmp_path):  # noqa: F811
    log.identity_named("ci-spiffe-2")
    one(log, tmp_path, "belongs to an identity")


@pytest.mark.parametrize("kind, name, ssh", [("ci", "ci-2", True), ("human", "h-0123456789abcdef", False), ("service", "h-0123456789abcdef", False)])
def test_kinds_and_what_they_have(log, tmp_path, kind, name, ssh):  # noqa: F811
    keys_of = [log.keys.ssh["stranger"]] if ssh else []
    body = {"kind": kind, "certificate": log.keys.pem("person"), "ssh": keys_of}
    made(log, body if kind == "human" else dict(body, name=name), {"name": name, "kind": kind, "ssh": keys_of, "credentials": [log.keys.bound("person")]})
    one(log, tmp_path, "kind")


# Nobody left who may change the policy


def test_a_policy_that_nobody_can_change(log, tmp_path):  # noqa: F811
    log.policy_apply(POLICY_1.replace(b"policy.apply, ", b""))
    one(log, tmp_path, "no enabled person")


def test_the_last_administrator_disabled(log, tmp_path):  # noqa: F811
    log.switch(log.ADMIN["name"], "disable", "farewell")
    one(log, tmp_path, "no enabled person")
