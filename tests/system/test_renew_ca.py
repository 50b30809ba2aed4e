"""Another CA beside the one that is there: both trusted for as long as the settings name both."""
import re
import signal
import ssl

from kms import BIN, Client, run
from test_renewal import allow, audit, csr_of, end_of, shown


def renew_ca(kms, check=True):
    return run(BIN / "kmsd", "renew-ca", "--dir", kms.dir, check=check)


def trust(kms, *names):
    """tls.client_ca of the settings."""
    settings = kms.dir / "kmsd.yaml"
    settings.write_text(re.sub(r"client_ca: \[.*\]", f"client_ca: [{', '.join(names)}]", settings.read_text()))


def issued_by(kms, ca, certificate):
    return run("openssl", "verify", "-x509_strict", "-CAfile", ca, certificate, check=False).returncode == 0


def test_overlap_and_end(stopped):
    """Old certificates go on, new ones come from the new CA; when the old CA leaves the settings, what it issued is refused."""
    kms, old = stopped, stopped.dir / "tls/ca.pem"
    said = renew_ca(kms).stdout.decode()
    new, = set((kms.dir / "tls").glob("ca-*.pem"))
    assert str(new) in said and "client_ca" in said and "kmsd renew-server" in said
    assert issued_by(kms, new, new) and end_of(new) >= end_of(old) and not issued_by(kms, old, new)
    record = kms.records(event="ca.renew")[0]
    assert record["detail"]["ca"]["birth"]["sensitive"] and "another CA key" in run(BIN / "kms-audit", "verify", kms.dir).stdout.decode()
    with kms:  # the settings still name the old one alone: it goes on
        before = kms.new_identity("before")
        assert issued_by(kms, old, before.cert)
    trust(kms, f"tls/{new.name}", "tls/ca.pem")
    both = kms.dir / "tls/both.pem"
    both.write_text(old.read_text() + new.read_text())
    with kms:
        kms.env["KMS_CACERT"] = str(both)
        kms._contexts.clear()
        assert kms.sign("1.0.1").status == 200  # a client of the old CA, the old certificate of the server
        after = kms.new_identity("after")
        allow(kms, "after")
        assert issued_by(kms, new, after.cert) and not issued_by(kms, old, after.cert)
        assert kms.request("ci", "GET", "/v1/whoami", cert=after).status == 200
        server = shown(kms)
        run(BIN / "kmsd", "renew-server", "--dir", kms.dir)
        kms.kill(kms.pid, signal.SIGHUP)
        kms.wait(lambda: shown(kms) != server, 10, "the new certificate")
        assert issued_by(kms, new, kms.dir / "tls/server.pem")
        for who in (kms.ci, before, after):
            assert kms.request("ci", "GET", "/v1/whoami", cert=who).status == 200
        kms.request("ci", "POST", "/v1/renew", {"csr": csr_of(after.key)}, cert=after)
        trust(kms, f"tls/{new.name}")
        kms.kill(kms.pid, signal.SIGHUP)
        kms.wait(lambda: refused_by_tls(kms, before), 10, "the end of the old CA")
        assert kms.request("ci", "GET", "/v1/whoami", cert=after).status == 200
    audit(kms)


def refused_by_tls(kms, who):
    try:
        return kms.request("ci", "GET", "/v1/whoami", cert=who).status != 200
    except (ssl.SSLError, ConnectionError):
        return True


def test_state_from_a_snapshot_and_another_renewal(stopped):
    """The second renewal ends what the first one replaced, for what is issued from then on; the log stays sound."""
    kms = stopped
    renew_ca(kms)
    renew_ca(kms)
    assert len(kms.records(event="ca.renew")) == 2
    first, second = (next(f for f in (kms.dir / "tls").glob("ca-*.pem") if run("openssl", "x509", "-in", f, "-outform", "DER").stdout == ca)
                     for ca in (__import__("base64").b64decode(r["detail"]["ca"]["cert_b64"]) for r in kms.records(event="ca.renew")))
    trust(kms, f"tls/{second.name}", f"tls/{first.name}", "tls/ca.pem")
    with kms:
        assert issued_by(kms, second, kms.new_identity("twice").cert)
        assert kms.request("ci", "GET", "/v1/whoami", cert=kms.ci).status == 200
    audit(kms)


def test_refusals(own_kms):
    done = renew_ca(own_kms, check=False)
    assert done.returncode == 1 and b"stop the service first" in done.stderr and not list((own_kms.dir / "tls").glob("ca-*.pem"))
    own_kms.stop()
    (own_kms.dir / "tokens/sealed").write_text("x\n")
    assert b"unseal" in renew_ca(own_kms, check=False).stderr and not own_kms.records(event="ca.renew")


def test_a_ca_that_the_log_does_not_know(stopped):
    """First in the settings, but no key of the token: the lane issues nothing, signing goes on."""
    kms = stopped
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", kms.dir / "x.key", "-out", kms.dir / "tls/x.pem",
        "-subj", "/CN=foreign", "-days", "9")
    trust(kms, "tls/x.pem", "tls/ca.pem")
    with kms:
        assert kms.sign("1.0.1").status == 200
        key, csr = kms.csr("nobody")
        answer = kms.signed("POST", "/v1/identities", {"kind": "ci", "name": "nobody", "csr": csr})
        assert answer.status in (500, 503) and not kms.records(event="identity.create", outcome="ok", req=answer.request_id)
        assert isinstance(Client(None, key), Client)
