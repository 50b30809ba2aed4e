"""What the log says of the certificates of the doors: each that the CA issued, once, when a door first shows it."""
import base64
import os
import signal
import time

import pytest

import auditlog
from kms import BIN, run
from test_audit import check, keys, log, original  # noqa: F401 (fixtures)
from test_renewal import audit, shown


def renew(kms):
    """Another certificate; its times have no fractions of a second, so one is needed between the instance and this."""
    time.sleep(1)
    run(BIN / "kmsd", "renew-server", "--dir", kms.dir)
    return run("openssl", "x509", "-in", kms.dir / "tls/server.pem", "-outform", "DER").stdout


def reload(kms):
    before = {door: shown(kms, door) for door in ("ci", "admin")}
    kms.kill(int((kms.dir / "kmsd.pid").read_text()), signal.SIGHUP)
    for door in before:
        kms.wait(lambda door=door: shown(kms, door) != before[door], 10, "the new certificate")


def recorded(kms):
    return [base64.b64decode(record["detail"]["certificate_b64"]) for record in kms.records(event="server.renew")]


def test_while_it_runs_and_while_it_does_not(stopped):
    kms = stopped
    assert recorded(kms) == []  # the first one was made with the CA
    with kms:
        first = renew(kms)
        reload(kms)
        kms.wait(lambda: recorded(kms) == [first], 10, "the record of what both doors show")
        assert kms.records(event="server.renew")[0]["actor"]["kind"] == "system"
    second = renew(kms)
    for _ in range(2):  # recorded at the first start, known at the next
        with kms:
            assert kms.sign("1.0.1").status == 200
            kms.wait(lambda: recorded(kms) == [first, second], 10, "the record of what was issued while it was stopped")
            audit(kms)


@pytest.mark.parametrize("kind", ["pipe", "folder", "nothing", "empty", "certificate", "other key"])
def test_what_is_no_key_of_the_doors(stopped, kind):
    """It neither waits for ever nor touches the certificate that works."""
    key, cert = stopped.dir / "tls/server.key", stopped.dir / "tls/server.pem"
    before = cert.read_bytes()
    key.unlink()
    if kind == "pipe":
        os.mkfifo(key)
    elif kind == "folder":
        key.mkdir()
    elif kind != "nothing":
        key.write_bytes({"empty": b"", "certificate": before, "other key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}[kind])
    done = run(BIN / "kmsd", "renew-server", "--dir", stopped.dir, check=False, timeout=10)
    assert done.returncode == 1 and b"server.key" in done.stderr and cert.read_bytes() == before


def test_of_another_ca(stopped):
    """What the CA on the token did not issue is no affair of the log."""
    kms, both = stopped, stopped.dir / "tls/both.pem"
    run("openssl", "req", "-x509", "-new", "-key", kms.dir / "tls/server.key", "-subj", "/CN=127.0.0.1", "-days", "3", "-addext", "subjectAltName=IP:127.0.0.1",
        "-addext", "extendedKeyUsage=serverAuth", "-out", kms.dir / "tls/foreign.pem")
    both.write_text((kms.dir / "tls/ca.pem").read_text() + (kms.dir / "tls/foreign.pem").read_text())
    with kms:
        kms.env["KMS_CACERT"] = str(both)
        kms._contexts.clear()
        (kms.dir / "tls/server.pem").write_text((kms.dir / "tls/foreign.pem").read_text())
        reload(kms)
        assert kms.sign("1.0.1").status == 200
        renewed = renew(kms)
        reload(kms)
        kms.wait(lambda: recorded(kms), 10, "the record of one of our own")
    assert recorded(kms) == [renewed]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only it gives files to others")
def test_the_owner_is_given_to_the_file_and_not_to_a_name(stopped, tmp_path):
    """Whoever owns the folder may have put something else under the name by then, and root would give that away."""
    kms, server, calls = stopped, stopped.dir / "tls/server.pem", tmp_path / "calls"
    os.chown(server, 4321, 1234)
    server.chmod(0o640)
    before = server.read_text()
    run("strace", "-f", "-o", calls, "-e", "trace=chown,lchown,fchown,fchownat", BIN / "kmsd", "renew-server", "--dir", kms.dir)
    done = server.stat()
    assert (done.st_uid, done.st_gid, done.st_mode & 0o777) == (4321, 1234, 0o640) and server.read_text() != before
    lines = [line.split(maxsplit=1)[1] for line in calls.read_text().splitlines() if "chown" in line]
    assert len(lines) == 1 and lines[0].startswith("fchown("), lines


# What kms-audit makes of such records

@pytest.mark.parametrize("what", ["for the doors", "of a client", "of the CA", "of another", "none"])
def test_only_what_the_ca_issued_for_the_doors(keys, log, tmp_path, what):  # noqa: F811
    path = tmp_path / "server"
    run("openssl", "req", "-new", "-key", keys.path("job.key"), "-subj", "/CN=server", "-out", f"{path}.csr")
    (tmp_path / "ext").write_text("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n")
    run("openssl", "x509", "-req", "-in", f"{path}.csr", "-CA", keys.path("ca.pem"), "-CAkey", keys.path("ca.key"), "-CAcreateserial", "-days", "300",
        "-extfile", tmp_path / "ext", "-out", f"{path}.pem")
    run("openssl", "req", "-x509", "-new", "-key", keys.path("other.key"), "-subj", "/CN=x", "-days", "3", "-addext", "basicConstraints=critical,CA:FALSE",
        "-out", f"{path}.x.pem")
    der = {"for the doors": f"{path}.pem", "of another": f"{path}.x.pem"}
    bytes_of = {"of a client": keys.job_der, "of the CA": keys.ca_der, "none": b"none"}
    cert = bytes_of.get(what) or run("openssl", "x509", "-in", der[what], "-outform", "DER").stdout
    at = log.add("server.renew", "ok", log.SYSTEM, detail={"certificate_b64": auditlog.b64(cert)})["seq"]
    assert check(log, tmp_path / "log")["found"] == ([] if what == "for the doors" else [("invalid", at, at)])
