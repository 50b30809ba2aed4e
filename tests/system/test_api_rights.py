"""Who may do what: certificates, people's signatures, the policy, and what a refusal gives away or leaves behind."""
import itertools
import json
import uuid

import pytest

from apitest import new_source, refused
from kms import BIN, run

_numbers = itertools.count(1)


def fresh(stem):
    return f"{stem}-{next(_numbers)}"


def signed(kms, method, path, body=b"", **more):
    return kms.signed(method, path, body, source=new_source(), **more)


def switch(kms, name, verb):
    answer = signed(kms, "POST", f"/v1/identities/{name}/{verb}", {"reason": "test"})
    assert answer.status == 200, answer
    return answer


@pytest.fixture(scope="module")
def person(kms):
    """A second person; the development policy gives them nothing."""
    return kms.new_identity("second-person", kind="human")


@pytest.fixture(scope="module")
def outsider(kms):
    """A CI identity that no rule names."""
    return kms.new_identity("outsider")


# Certificates

def test_disabled_on_a_live_connection(kms):
    name = fresh("live")
    client = kms.new_identity(name)
    with kms.connect("ci", client, new_source()) as connection:
        assert connection.request("GET", "/v1/whoami").json["identity"] == {"kind": "ci", "name": name, "state": "enabled"}
        switch(kms, name, "disable")
        record = refused(kms, connection.request("GET", "/v1/whoami"), 403, "forbidden", "auth.refused")
        assert record["actor"]["name"] == name
        refused(kms, connection.request("POST", "/v1/sign", kms.release("1.0.0", app=f"com.example.{name}")), 403, "forbidden", "auth.refused")
        switch(kms, name, "enable")
        assert connection.request("GET", "/v1/whoami").status == 200


def test_switch_twice(kms):
    name = fresh("twice")
    kms.new_identity(name)
    refused(kms, signed(kms, "POST", f"/v1/identities/{name}/enable", {"reason": "again"}), 409, "already-exists", "identity.enable")
    switch(kms, name, "disable")
    refused(kms, signed(kms, "POST", f"/v1/identities/{name}/disable", {"reason": "again"}), 409, "already-exists", "identity.disable")
    refused(kms, signed(kms, "POST", "/v1/identities/nobody-here/disable", {"reason": "who"}), 404, "not-found", "identity.disable")


def test_certificate_belongs_to_one_identity(kms, outsider):
    body = {"kind": "service", "name": fresh("thief"), "certificate": outsider.cert.read_text()}
    refused(kms, signed(kms, "POST", "/v1/identities", body), 409, "already-exists", "identity.create")
    body = {"kind": "ci", "name": outsider.name, "csr": kms.csr("again")[1]}
    refused(kms, signed(kms, "POST", "/v1/identities", body), 409, "already-exists", "identity.create")


def test_unusable_certificates(kms):
    ca = (kms.dir / "tls" / "ca.pem").read_text()
    garbage = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    for member, value in (("certificate", ca), ("certificate", garbage), ("certificate", ""), ("csr", garbage), ("csr", "no PEM")):
        answer = signed(kms, "POST", "/v1/identities", {"kind": "ci", "name": fresh("bad"), member: value})
        refused(kms, answer, 400, "bad-certificate", "identity.create")


def test_names_of_people_are_kept(kms):
    body = {"kind": "ci", "name": "h-0123456789abcdef", "csr": kms.csr("handle")[1]}
    refused(kms, signed(kms, "POST", "/v1/identities", body), 400, "bad-name", "identity.create")


def test_issued_certificate_says_nothing_but_the_name(kms, outsider):
    text = run("openssl", "x509", "-in", outsider.cert, "-noout", "-subject", "-ext", "extendedKeyUsage,basicConstraints").stdout.decode()
    assert "CN = outsider" in text and "ignored" not in text
    assert "TLS Web Client Authentication" in text and "CA:FALSE" in text
    run("openssl", "verify", "-CAfile", kms.env["KMS_CACERT"], "-purpose", "sslclient", outsider.cert)


# Signatures of people

@pytest.fixture
def target(kms):
    """An identity to be disabled, the request for it, and a check that nothing happened."""
    name = fresh("target")
    kms.new_identity(name)
    return name, f"/v1/identities/{name}/disable", json.dumps({"reason": "test"}).encode()


def enabled(kms, name):
    return kms.request("admin", "GET", f"/v1/identities/{name}").json["state"] == "enabled"


def send(kms, path, body, signature, cert=None, method="POST"):
    return kms.request("admin", method, path, body, {"Kms-Signature": signature} if signature is not None else {}, cert, new_source())


def test_no_signature(kms, target):
    name, path, body = target
    bare = send(kms, path, body, None)
    refused(kms, bare, 401, "signature-required", "identity.disable")
    assert bare.headers["www-authenticate"] == "Kms-Signature"
    assert enabled(kms, name)


def test_signature_replayed(kms, target):
    name, path, body = target
    signature = kms.signature("POST", path, body)
    assert send(kms, path, body, signature).status == 200
    switch(kms, name, "enable")
    answer = send(kms, path, body, signature)
    refused(kms, answer, 403, answer.slug, "identity.disable")
    assert answer.slug in ("nonce-invalid", "signature-invalid") and enabled(kms, name)


def test_signature_altered(kms, target, person):
    """Nothing but the exact request passes; a failed attempt does not use the nonce up."""
    name, path, body = target
    other = fresh("other")
    kms.new_identity(other)
    nonce = kms.nonce()
    good = kms.signature("POST", path, body, nonce=nonce)
    stranger = kms.dir / f"{other}.ssh"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger)
    attempts = {
        "body": (path, body + b" ", good),
        "path": (f"/v1/identities/{other}/disable", body, good),
        "verb": (path.replace("disable", "enable"), body, good),
        "namespace": (path, body, kms.signature("POST", path, body, nonce=nonce, namespace="kmsd-approval@v1")),
        "method in the signature": (path, body, kms.signature("PUT", path, body, nonce=nonce)),
        "instance": (path, body, kms.signature("POST", path, body, nonce={**nonce, "instance": "0" * 32})),
        "nonce": (path, body, kms.signature("POST", path, body, nonce={**nonce, "nonce": "0" * 32})),
        "somebody's key": (path, body, kms.signature("POST", path, body, nonce=nonce, ssh_key=stranger)),
        "another person's key": (path, body, kms.signature("POST", path, body, nonce=nonce, ssh_key=person.ssh_key)),
        "a bit": (path, body, good[:-9] + ("A" if good[-9] != "A" else "B") + good[-8:]),
        "cut": (path, body, good[:-8]),
        "longer": (path, body, good.rstrip("=") + "AAAA"),
        "no base64": (path, body, "?" * 100),
        "spaces": (path, body, good[:40] + " " + good[40:]),
        "something else": (path, body, "AAAA"),
        "far too long": (path, body, "A" * 12000),
    }
    for what, (at, data, signature) in attempts.items():
        answer = send(kms, at, data, signature)
        assert (answer.status, answer.slug) == (403, "signature-invalid") or (what == "far too long" and answer.status == 431), (what, answer)
        if answer.status == 403:
            refused(kms, answer, 403, "signature-invalid")
    assert enabled(kms, name) and enabled(kms, other)
    assert send(kms, path, body, good).status == 200


def test_nonce_of_another_certificate(kms, target, person):
    name, path, body = target
    signature = kms.signature("POST", path, body, nonce=kms.nonce(person))
    answer = send(kms, path, body, signature)
    refused(kms, answer, 403, answer.slug, "identity.disable")
    assert answer.slug in ("nonce-invalid", "signature-invalid") and enabled(kms, name)


def test_signature_kept_in_the_log(kms, target, tmp_path):
    """Anybody can check it later, with ssh-keygen and what the log says of the person's keys."""
    name, path, body = target
    answer = send(kms, path, body, kms.signature("POST", path, body))
    record = kms.record_of(answer)
    evidence = record["request"]
    (tmp_path / "sig").write_text("-----BEGIN SSH SIGNATURE-----\n" + evidence["sshsig_b64"] + "\n-----END SSH SIGNATURE-----\n")
    (tmp_path / "allowed").write_text("admin " + " ".join((kms.dir / "admin_ssh.pub").read_text().split()[:2]) + "\n")
    genesis = json.loads(kms.lines()[0])
    message = json.dumps({"body_sha256": evidence["body_sha256"], "instance": genesis["detail"]["instance"], "method": evidence["method"],
                          "nonce": evidence["nonce"], "path": evidence["path"]}, sort_keys=True, separators=(",", ":")).encode()
    run("ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "admin", "-n", "kmsd-request@v1", "-s", tmp_path / "sig", stdin=message)


def test_only_people_change_things(kms, target):
    name, path, body = target
    refused(kms, kms.request("admin", "POST", "/v1/nonce", cert=kms.ci, source=new_source()), 403, "forbidden", "nonce.create")
    signature = kms.signature("POST", path, body)
    refused(kms, send(kms, path, body, signature, cert=kms.ci), 403, "forbidden", "identity.disable")
    assert enabled(kms, name)


def test_person_without_a_rule(kms, target, person):
    name, path, body = target
    record = refused(kms, send(kms, path, body, kms.signature("POST", path, body, person), cert=person), 403, "forbidden", "identity.disable")
    assert record["rule"] == "default-deny" and enabled(kms, name)


def test_too_many_nonces(kms):
    """Sixteen unused ones a certificate: a person of its own, so that nobody else waits."""
    hoarder = kms.new_identity(fresh("hoarder"), kind="human")
    assert len({kms.nonce(hoarder)["nonce"] for _ in range(16)}) == 16
    answer = kms.request("admin", "POST", "/v1/nonce", cert=hoarder, source=new_source())
    refused(kms, answer, 429, "rate-limited", "nonce.create")
    assert int(answer.headers["retry-after"]) == answer.json["retry_after"] == 60


# The policy

def policy_in_force(kms):
    return kms.request("admin", "GET", "/v1/policy").json


def without_apply(kms):
    """The policy in force, with nobody left who may apply another."""
    text = policy_in_force(kms)["policy"]
    assert "policy.apply, " in text
    return text.replace("policy.apply, ", "")


@pytest.mark.parametrize("text", [
    "", "version: 1\nversion: 1\n", "a: &x 1\nb: *x\n", "- 1\n- 2\n", "version: 1\nsurprise: true\n", "version: 2\n", "{", "\tversion: 1\n",
    "version: 1\n\x00", b"version: 1 # \xff\n", "[" * 3000, "%YAML 9.9\n---\nversion: 1\n", "!!python/object:os.system x\n",
    "version: 1\n---\nversion: 1\n",
])
def test_bad_policy(kms, text):
    body = text if isinstance(text, bytes) else text.encode()
    before = policy_in_force(kms)
    yaml = {"Content-Type": "application/yaml"}
    refused(kms, signed(kms, "PUT", "/v1/policy", body, headers=yaml), 400, "bad-policy", "policy.apply")
    refused(kms, kms.request("admin", "POST", "/v1/policy/check", body, yaml, source=new_source()), 400, "bad-policy", "read.api")
    assert policy_in_force(kms) == before


def test_size_of_a_policy(kms):
    """Up to 262,144 bytes; such a body is kept beside the log, not in it."""
    yaml, before = {"Content-Type": "application/yaml"}, policy_in_force(kms)["policy"]
    largest = before + "#" * (262143 - len(before.encode())) + "\n"
    answer = signed(kms, "PUT", "/v1/policy", largest, headers=yaml)
    assert answer.status == 200 and policy_in_force(kms)["policy"] == largest
    assert kms.record_of(answer)["request"]["blob"] == answer.json["sha256"]
    refused(kms, signed(kms, "PUT", "/v1/policy", largest + "\n", headers=yaml), 413, "too-large", "policy.apply")
    assert signed(kms, "PUT", "/v1/policy", before, headers=yaml).status == 200


def test_policy_as_json(kms):
    refused(kms, signed(kms, "PUT", "/v1/policy", "{}"), 415, "unsupported-media-type", "policy.apply")


def test_policy_lockout(kms):
    before, text, yaml = policy_in_force(kms), without_apply(kms), {"Content-Type": "application/yaml"}
    refused(kms, signed(kms, "PUT", "/v1/policy", text, headers=yaml), 409, "policy-lockout", "policy.apply")
    refused(kms, kms.request("admin", "POST", "/v1/policy/check", text, yaml, source=new_source()), 409, "policy-lockout", "read.api")
    assert policy_in_force(kms) == before


def test_last_administrator(kms):
    answer = signed(kms, "POST", f"/v1/identities/{kms.admin.name}/disable", {"reason": "a mistake"})
    refused(kms, answer, 409, "policy-lockout", "identity.disable")
    assert enabled(kms, kms.admin.name)


def test_policy_applied_and_checked(kms):
    """The same policy with a comment: another hash, the same rights, and its bytes kept beside the log."""
    text = policy_in_force(kms)["policy"] + f"# {uuid.uuid4()}\n"
    yaml = {"Content-Type": "application/yaml"}
    checked = kms.request("admin", "POST", "/v1/policy/check", text, yaml)
    assert checked.status == 200 and checked.json["valid"] is True
    applied = signed(kms, "PUT", "/v1/policy", text, headers=yaml)
    assert applied.status == 200 and applied.json["sha256"] == checked.json["sha256"]
    now = policy_in_force(kms)
    assert (now["policy"], now["sha256"], now["seq"]) == (text, checked.json["sha256"], applied.json["record"]["seq"])
    assert (kms.dir / "audit" / "blobs" / now["sha256"]).read_text() == text


def test_longest_rule_name(own_kms):
    """Role and rule of 64 characters each: the record still names the rule."""
    role, rule = "r" * 64, "s" * 64
    text = policy_in_force(own_kms)["policy"].replace("example-ci", role).replace("sign-example\n", rule + "\n")
    assert signed(own_kms, "PUT", "/v1/policy", text, headers={"Content-Type": "application/yaml"}).status == 200
    answer = own_kms.sign("1.0.0")
    assert answer.status == 200 and own_kms.record_of(answer)["rule"].startswith(role[:60])
    verdict = run(BIN / "kms-audit", "verify", own_kms.dir, check=False)
    assert verdict.returncode == 0, verdict.stdout


# What a refusal gives away

def test_forbidden_and_unknown_key_look_alike(kms, outsider):
    known, unknown = kms.ci_env["KMS_SIGN_KEY"], "k" * len(kms.ci_env["KMS_SIGN_KEY"])

    def ask(key, path, body=None):
        answer = kms.request("ci", "POST" if body else "GET", path.format(key), body and {**body, "key": key}, cert=outsider, source=new_source())
        refused(kms, answer, 403, "forbidden")
        headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
        return headers, answer.body.replace(answer.request_id.encode(), b"ID").replace(key.encode(), b"KEY")

    for path, body in (("/v1/keys/{}", None), ("/v1/keys/{}/public", None), ("/v1/sign", kms.release("1.0.0", app=fresh("com.example.alike")))):
        assert ask(known, path, body) == ask(unknown, path, body)


def test_unknown_key_of_who_may_read(kms):
    record = refused(kms, kms.request("admin", "GET", "/v1/keys/no-such-key", source=new_source()), 404, "not-found", "read.api")
    assert record["key"] == {"name": "no-such-key"}


def test_problems_name_no_insides(kms, outsider):
    """No path, no token code, no other principal in what an outsider reads."""
    for path in ("/v1/keys", "/v1/status", "/v1/keys/release", "/v1/nothing"):
        text = kms.request("ci", "GET", path, cert=outsider, source=new_source()).body.decode()
        assert not any(word in text for word in (str(kms.dir), "CKR_", kms.admin.name, kms.ci.name))


# What a refusal leaves behind

def test_refusals_cannot_fill_the_disk(own_kms):
    """Ten a minute singly, the others as counts; none is lost."""
    count, body = 60, own_kms.release("not a version")
    with own_kms.connect("ci") as connection:
        answers = [connection.request("POST", "/v1/sign", body) for _ in range(count)]
    assert {a.slug for a in answers} == {"bad-version"}
    own_kms.stop()
    singly = [r for r in own_kms.records(event="sign.release", outcome="denied") if r["reason"] == "bad-version"]
    counted = [item for r in own_kms.records(event="refusal.summary") for item in r["detail"]["items"] if item["reason"] == "bad-version"]
    assert 10 <= len(singly) <= 20 and len(singly) + sum(item["count"] for item in counted) == count
    assert all(item["name"] == own_kms.ci.name for item in counted)
    own_kms.check_chain()
    own_kms.start()


def test_log_verifies(kms):
    """The independent verifier finds nothing to object to in everything that these tests did."""
    kms.signed("POST", "/v1/keys", {"name": "Not A Name\u202e", "algorithm": "p256", "scheme": "statement"}, source=new_source())
    kms.signed("POST", "/v1/releases/withdraw", {"app": "a b", "channel": "\u0001", "version": "x", "reason": ""}, source=new_source())
    name = fresh("reasons")
    kms.new_identity(name)
    assert signed(kms, "POST", f"/v1/identities/{name}/disable", {"reason": ""}).slug == "bad-request"
    for verb, reason in (("disable", "x"), ("enable", "\u202e\u0007 of all sorts"), ("disable", "x" * 500)):
        assert signed(kms, "POST", f"/v1/identities/{name}/{verb}", {"reason": reason}).status == 200
    done = run(BIN / "kms-audit", "verify", kms.dir, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_person_stays_nameless(kms):
    """A signing request with a subject would put a name into the log for good."""
    _, csr = kms.csr(fresh("named"), "/CN=Jane Doe")
    _, line = kms.ssh_key(fresh("named"))
    answer = kms.signed("POST", "/v1/identities", {"kind": "human", "csr": csr, "ssh": [line]}, source=new_source())
    assert answer.slug == "bad-certificate" and "subject" in answer.json["detail"]
    assert all("request" not in r for r in kms.records(event="identity.create", req=answer.request_id))


def test_one_ssh_key_is_one_person(kms):
    """With a key in two identities, one person could answer for two."""
    admin = (kms.dir / "admin_ssh.pub").read_text().split()
    _, own = kms.ssh_key(fresh("own"))
    for keys in ([" ".join(admin[:2])], [own, " ".join(admin[:2]) + " under-another-name"]):
        _, csr = kms.csr(fresh("twin"), "/")
        answer = kms.signed("POST", "/v1/identities", {"kind": "human", "csr": csr, "ssh": keys}, source=new_source())
        refused(kms, answer, 409, "already-exists", "identity.create")
    _, csr = kms.csr(fresh("twin"), "/")
    assert kms.signed("POST", "/v1/identities", {"kind": "human", "csr": csr, "ssh": [own]}, source=new_source()).status == 201
