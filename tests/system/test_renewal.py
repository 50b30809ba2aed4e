"""Certificates that are renewed: a job's and a person's own, another's, the server's."""
import http.client
import json
import os
import signal
import ssl
import time

import pytest

from apitest import refused
from kms import BIN, Client, run, sha256
from load import Threads


def csr_of(key, subject="/"):
    return run("openssl", "req", "-new", "-key", key, "-subj", subject).stdout.decode()


def renew(kms, who, **members):
    return kms.request("ci", "POST", "/v1/renew", {"csr": csr_of(who.key), **members}, cert=who)


def client(kms, who, answer, stem):
    """The same caller with the certificate of an answer."""
    cert = kms.dir / f"{stem}.renewed.pem"
    cert.write_text(answer.json["certificate"])
    return Client(cert, who.key, who.ssh_key, who.name)


def der_hash(pem):
    return sha256(run("openssl", "x509", "-outform", "DER", stdin=pem.encode()).stdout)


def end_of(path):
    text = run("openssl", "x509", "-in", path, "-noout", "-enddate", "-dateopt", "iso_8601").stdout.decode().strip().removeprefix("notAfter=")
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%SZ")) - time.timezone


def allow(kms, name):
    """A rule that lets that identity renew."""
    policy = kms.request("admin", "GET", "/v1/policy").json["policy"]
    if f"identity:{name}'" not in policy:
        policy = policy.replace("'identity:ci-example'", f"'identity:ci-example', 'identity:{name}'", 1)
        assert kms.signed("PUT", "/v1/policy", policy, {"Content-Type": "application/yaml"}).status == 200


@pytest.fixture
def job(kms, request):
    name = f"renew-{request.node.name.replace('_', '-').replace('[', '-').replace(']', '')}"[:60]
    who = kms.new_identity(name, days=30)
    allow(kms, name)
    return who


def audit(kms):
    """A copy of the log is sound to the verifier."""
    done = run(BIN / "kms-audit", "verify", kms.dir, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_job_renews(kms, job):
    """Old and new certificate are good; the record says which one was issued for whom; the verifier follows."""
    answer = renew(kms, job, days=60)
    assert answer.status == 201 and answer.json["identity"] == {"name": job.name} and answer.json["dropped"] == [], answer
    new = client(kms, job, answer, job.name)
    for who in (job, new):
        me = kms.request("ci", "GET", "/v1/whoami", cert=who).json
        assert me["identity"]["name"] == job.name
    assert me["not_after"] == answer.json["not_after"] and abs(end_of(new.cert) - time.time() - 60 * 86400) < 700
    record = kms.record_of(answer)
    assert record["event"] == "identity.renew" and record["detail"]["credential"]["cert_sha256"] == der_hash(answer.json["certificate"])
    assert record["actor"]["cred"] == der_hash(job.cert.read_text()) and "request" not in record and record["rule"] == "example-ci/look"
    audit(kms)


def test_the_new_one_after_a_restart_and_a_snapshot(own_kms):
    """State made anew from the log knows both."""
    who = own_kms.new_identity("again", days=30)
    allow(own_kms, "again")
    new = client(own_kms, who, renew(own_kms, who), "again")
    own_kms.stop()
    own_kms.start()
    for cert in (who, new):
        assert own_kms.request("ci", "GET", "/v1/whoami", cert=cert).json["identity"]["name"] == "again"


def test_four_at_most(kms, job):
    """The one that ends first makes room, but never the one that is in use; what was dropped is nobody's."""
    made = [client(kms, job, renew(kms, job, days=days), f"{job.name}-{days}") for days in (100, 50, 200)]
    answer = renew(kms, job, days=300)
    assert answer.status == 201 and answer.json["dropped"] == [der_hash(made[1].cert.read_text())]
    refused(kms, kms.request("ci", "GET", "/v1/whoami", cert=made[1]), 403, "forbidden")
    for who in (job, made[0], made[2]):
        assert kms.request("ci", "GET", "/v1/whoami", cert=who).status == 200
    shown = kms.request("admin", "GET", f"/v1/identities/{job.name}").json
    assert len(shown["credentials"]) == 4
    audit(kms)


def test_same_key_same_answer(kms, job):
    headers, body = {"Idempotency-Key": f"renew-{job.name}"}, {"csr": csr_of(job.key)}
    first = kms.request("ci", "POST", "/v1/renew", body, headers, cert=job)
    again = kms.request("ci", "POST", "/v1/renew", body, headers, cert=job)
    assert first.status == again.status == 201 and first.body == again.body
    body["days"] = 9
    assert kms.request("ci", "POST", "/v1/renew", body, headers, cert=job).slug == "idempotency-conflict"


def test_who_may_not(kms, job):
    other = kms.new_identity(f"{job.name}-2")
    refused(kms, renew(kms, other), 403, "forbidden")
    answer = kms.request("ci", "POST", "/v1/renew", {"csr": csr_of(kms.admin.key)}, cert=kms.admin)
    refused(kms, answer, 403, "forbidden")
    assert "signature" in answer.json["detail"]
    assert kms.request("admin", "POST", "/v1/renew", {"csr": "x"}).status == 404
    assert kms.signed("POST", f"/v1/identities/{job.name}/disable", {"reason": "x"}).status == 200
    refused(kms, renew(kms, job), 403, "forbidden")


@pytest.mark.parametrize("body,slug", [({}, "bad-request"), ({"csr": "x"}, "bad-certificate"), ({"csr": "CSR", "days": 399}, "bad-request"),
                                       ({"csr": "CSR", "days": 0}, "bad-request"), ({"csr": "CSR", "name": "x"}, "unknown-member"),
                                       ({"csr": "BROKEN"}, "bad-certificate")])
def test_bodies(kms, job, body, slug):
    good = csr_of(job.key)
    texts = {"CSR": good, "BROKEN": good.replace(good.splitlines()[2], good.splitlines()[1])}
    body = {member: texts.get(value, value) for member, value in body.items()}
    answer = kms.request("ci", "POST", "/v1/renew", body, cert=job)
    assert answer.slug == slug, answer


def test_another_key_takes_an_administrator(kms, job):
    """Whoever speaks for the job at the door, without its key, gains no certificate that lasts."""
    _, csr = kms.csr(f"{job.name}-other")
    answer = kms.request("ci", "POST", "/v1/renew", {"csr": csr}, cert=job)
    refused(kms, answer, 400, "bad-certificate")
    assert "another key" in answer.json["detail"]
    assert kms.signed("POST", f"/v1/identities/{job.name}/credentials", {"csr": csr}).status == 201


def test_a_certificate_of_others_is_renewed_by_others(kms):
    """One that this service did not issue."""
    name = f"foreign-{time.time_ns()}"
    stem = kms.dir / name
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{stem}.key", "-out", f"{stem}.pem", "-subj", "/CN=x",
        "-days", "9", "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=clientAuth")
    body = {"kind": "ci", "name": name, "certificate": (kms.dir / f"{name}.pem").read_text()}
    assert kms.signed("POST", "/v1/identities", body).status == 201
    # The door trusts no such issuer; an administrator may give it one of ours.
    answer = kms.signed("POST", f"/v1/identities/{name}/credentials", {"csr": csr_of(kms.dir / f"{name}.key")})
    assert answer.status == 201, answer
    who = client(kms, Client(None, kms.dir / f"{name}.key", None, name), answer, name)
    assert kms.request("ci", "GET", "/v1/whoami", cert=who).json["identity"]["name"] == name
    audit(kms)


def test_a_person_signs_for_hers(kms):
    path = f"/v1/identities/{kms.admin.name}/credentials"
    body = {"csr": csr_of(kms.admin.key)}
    refused(kms, kms.request("admin", "POST", path, body), 401, "signature-required")
    named = kms.signed("POST", path, {"csr": csr_of(kms.admin.key, "/CN=Ada Lovelace")})
    refused(kms, named, 400, "bad-certificate")
    answer = kms.signed("POST", path, body)
    assert answer.status == 201, answer
    record = kms.record_of(answer)
    assert record["request"]["path"] == path and record["actor"]["name"] == record["detail"]["name"] == kms.admin.name
    new = client(kms, kms.admin, answer, "admin")
    assert kms.request("admin", "GET", "/v1/whoami", cert=new).json["identity"]["name"] == kms.admin.name
    audit(kms)


def test_a_person_without_the_right_to_make_identities(kms, request):
    """May renew her own where the policy says so, never another's."""
    person = kms.new_identity(f"h{time.time_ns()}", kind="human")
    allow(kms, person.name)
    own = kms.signed("POST", f"/v1/identities/{person.name}/credentials", {"csr": csr_of(person.key)}, cert=person)
    assert own.status == 201, own
    other = kms.signed("POST", f"/v1/identities/{kms.ci.name}/credentials", {"csr": csr_of(person.key)}, cert=person)
    refused(kms, other, 403, "forbidden")


def test_to_renew_for_others_is_a_right_of_its_own(own_kms):
    """Whoever gives another identity a certificate can act as it: the right to make identities is not enough, nor the one to renew one's own."""
    kms = own_kms
    key, csr = kms.csr("other")
    policy = kms.request("admin", "GET", "/v1/policy").json["policy"]
    without = policy.replace("identity.renew, ", "", 1)
    assert without != policy and "identity.create" in without
    assert kms.signed("PUT", "/v1/policy", without, {"Content-Type": "application/yaml"}).status == 200
    refused(kms, kms.signed("POST", f"/v1/identities/{kms.ci.name}/credentials", {"csr": csr}), 403, "forbidden")
    only_others = policy.replace("audit.read, renew]", "audit.read]", 1)
    assert only_others != policy and kms.signed("PUT", "/v1/policy", only_others, {"Content-Type": "application/yaml"}).status == 200
    assert kms.signed("POST", f"/v1/identities/{kms.ci.name}/credentials", {"csr": csr}).status == 201
    refused(kms, kms.signed("POST", f"/v1/identities/{kms.admin.name}/credentials", {"csr": csr_of(key)}), 403, "forbidden")
    audit(kms)


# kmsctl

def test_kmsctl_renews_in_place(kms, job):
    env = {**kms.ci_env, "KMS_CERT": str(job.cert), "KMS_KEY": str(job.key)}
    before = job.cert.read_text()
    done = kms.kmsctl("renew", "--days", "77", env=env)
    said = json.loads(done.stdout)
    assert said["certificate_file"] == str(job.cert) and said["identity"]["name"] == job.name
    assert job.cert.read_text() != before and abs(end_of(job.cert) - time.time() - 77 * 86400) < 700
    kms._contexts.clear()
    assert kms.request("ci", "GET", "/v1/whoami", cert=job).status == 200
    assert b"certificate ends" not in kms.kmsctl("whoami", env=env).stderr
    refusals = [kms.kmsctl("renew", *words, env=env, check=False).returncode for words in (("--days", "0"), ("--csr", "x"), ("somebody",))]
    assert refusals == [2, 2, 2]


def test_kmsctl_renews_a_person(kms):
    out = kms.dir / "admin.kmsctl.pem"
    kms.kmsctl("renew", "--cert-out", out, env=kms.env)
    assert kms.request("admin", "GET", "/v1/whoami", cert=Client(out, kms.admin.key, kms.admin.ssh_key)).json["identity"]["name"] == kms.admin.name


def test_kmsctl_for_another(kms, job):
    key, csr = kms.csr(f"{job.name}-other")
    request, out = kms.dir / f"{job.name}.csr", kms.dir / f"{job.name}.out.pem"
    request.write_text(csr)
    kms.kmsctl("renew", job.name, "--csr", request, "--cert-out", out, env=kms.env)
    assert kms.request("ci", "GET", "/v1/whoami", cert=Client(out, key)).json["identity"]["name"] == job.name
    assert os.stat(out).st_mode & 0o777 == 0o644


# The server's

def shown(kms, door="ci"):
    """SHA-256 of the certificate that a door shows."""
    with kms.connect(door) as connection:
        return sha256(connection.http.sock.getpeercert(True))


def supervisor(kms):
    return int((kms.dir / "kmsd.pid").read_text())


def ci_doors(kms):
    return {pid for pid, argv in kms.children().items() if "ci" in argv}


def hangup(kms):
    kms.kill(supervisor(kms), signal.SIGHUP)


def test_a_new_server_certificate(own_kms):
    """Issued beside the running service, for the same key; taken on SIGHUP."""
    kms = own_kms
    old, key = (kms.dir / "tls/server.pem").read_text(), (kms.dir / "tls/server.key").read_text()
    done = run(BIN / "kmsd", "renew-server", "--dir", kms.dir)
    new = (kms.dir / "tls/server.pem").read_text()
    assert b"systemctl reload" in done.stdout and new != old and (kms.dir / "tls/server.key").read_text() == key
    run("openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", kms.dir / "tls/ca.pem", kms.dir / "tls/server.pem")
    assert shown(kms) == der_hash(old)
    hangup(kms)
    for door in ("ci", "admin"):
        kms.wait(lambda door=door: shown(kms, door) == der_hash(new), 10, "the new certificate")
    assert kms.sign("1.0.0").status == 200 and not kms.records(event="daemon.child")
    ends = {c["name"]: c["not_after"] for c in kms.request("admin", "GET", "/v1/status").json["certificates"]}
    assert abs(end_of(kms.dir / "tls/server.pem") - time.mktime(time.strptime(ends["server-ci"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 1
    audit(kms)


def test_no_request_is_lost(own_kms):
    """Clients that sign all the time, each with a connection that it keeps, while the doors are renewed five times."""
    kms, answers, doors = own_kms, [], set()

    def client_loop(number):
        version, connection = 0, None
        while not clients.stopped.is_set():
            version += 1
            body = kms.release(f"1.0.{version}", app=f"com.example.renew{number}")
            for attempt in range(2):  # a connection that was idle may be closed: that is known before the request was read
                try:
                    connection = connection or kms.connect("ci")
                    answer = connection.request("POST", "/v1/sign", body)
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                    connection = None
                    if attempt:
                        answers.append("lost")
                    continue
                answers.append(answer.status)
                if answer.headers.get("connection") == "close":
                    connection = None
                break
    clients = Threads(6, client_loop)
    with clients:
        for _ in range(5):
            doors |= ci_doors(kms)
            hangup(kms)
            kms.wait(lambda: ci_doors(kms) - doors, 15, "another door")
            time.sleep(0.3)
    assert len(doors) == 5 and len(answers) > 50 and set(answers) == {200}, {a: answers.count(a) for a in set(answers)}


def test_files_that_the_doors_would_refuse(own_kms):
    """A wrong certificate does not cost the doors that work."""
    kms = own_kms
    door, good = kms.child("kmsd-front", door="ci"), (kms.dir / "tls/server.pem").read_text()
    (kms.dir / "tls/server.pem").write_text((kms.dir / "tls/ca.pem").read_text())
    hangup(kms)
    kms.wait(lambda: "the doors go on with the files that they have" in (kms.dir / "kmsd.log").read_text(), 10, "the refusal")
    assert kms.child("kmsd-front", door="ci") == door and shown(kms) == der_hash(good)
    (kms.dir / "tls/server.pem").write_text(good)


def test_renew_server_refuses(own_kms):
    kms = own_kms
    before = (kms.dir / "tls/server.pem").read_text()
    (kms.dir / "tokens/sealed").write_text("x\n")
    done = run(BIN / "kmsd", "renew-server", "--dir", kms.dir, check=False)
    assert done.returncode == 1 and b"unseal" in done.stderr
    (kms.dir / "tokens/sealed").unlink()
    (kms.dir / "tokens/keys/store").rename(kms.dir / "tokens/keys/away")
    done = run(BIN / "kmsd", "renew-server", "--dir", kms.dir, check=False)
    assert done.returncode == 1 and b"kmsd renew-server" in done.stderr, done.stderr
    (kms.dir / "tokens/keys/away").rename(kms.dir / "tokens/keys/store")
    assert (kms.dir / "tls/server.pem").read_text() == before
    assert run(BIN / "kmsd", "renew-server", check=False).returncode == 2


def test_a_server_certificate_near_its_end(own_kms):
    """Told in the messages, by the status and the metrics; renewing it ends that."""
    kms = own_kms
    run("openssl", "req", "-x509", "-new", "-key", kms.dir / "tls/server.key", "-subj", "/CN=127.0.0.1", "-days", "3", "-addext", "subjectAltName=IP:127.0.0.1",
        "-addext", "extendedKeyUsage=serverAuth", "-out", kms.dir / "tls/short.pem")
    (kms.dir / "tls/server.pem").write_text((kms.dir / "tls/short.pem").read_text())
    (kms.dir / "tls/both.pem").write_text((kms.dir / "tls/ca.pem").read_text() + (kms.dir / "tls/short.pem").read_text())
    kms.env["KMS_CACERT"] = str(kms.dir / "tls/both.pem")
    kms._contexts.clear()
    hangup(kms)
    kms.wait(lambda: shown(kms) == der_hash((kms.dir / "tls/short.pem").read_text()), 10, "the short certificate")
    kms.wait(lambda: "event=certificate text=\"the certificate server-" in (kms.dir / "kmsd.log").read_text(), 10, "the message")
    kms.wait(lambda: len(near(kms)) == 2, 10, "both doors")
    assert {w["do"] for w in near(kms)} == {"kmsd renew-server makes a new one"}
    run(BIN / "kmsd", "renew-server", "--dir", kms.dir)
    hangup(kms)
    kms.wait(lambda: not near(kms), 10, "the end of the warnings")


def near(kms):
    try:
        return [w for w in kms.request("admin", "GET", "/v1/status").json["warnings"] if "the certificate server-" in w["what"]]
    except (ssl.SSLError, ConnectionError):
        return ["the door is being renewed"]
