"""kmsd recover-admin: another administrator by the owner of the machine, and the log tells everybody."""
import json
import os

import pytest

from kms import BIN, ROOT, Client, run, sha256

REASON = "both administrators left the company"


def files(kms, subject="/"):
    """Key, signing request and SSH key of the person who comes in."""
    key, csr = kms.csr("new-admin", subject)
    request = kms.dir / "new-admin.csr"
    request.write_text(csr)
    ssh, _ = kms.ssh_key("new-admin")
    return key, request, ssh


def recover(kms, csr, ssh, *more, check=True, user=()):
    argv = ["--dir", kms.dir, "--admin-csr", csr, "--admin-ssh", f"{ssh}.pub", "--reason", REASON, "--admin-out", kms.dir / "new-admin.pem", *more]
    return run(*user, BIN / "kmsd", "recover-admin", *argv, check=check)


def audit(kms, code=0):
    done = run(BIN / "kms-audit", "verify", kms.dir, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return (done.stdout + done.stderr).decode()


def test_recover(stopped):
    kms = stopped
    key, csr, ssh = files(kms)
    said = recover(kms, csr, ssh).stdout.decode()
    record = kms.records()[-1]
    name = record["detail"]["identity"]["name"]
    assert record["event"] == "admin.recover" and record["reason"] == REASON and record["actor"]["kind"] == "system"
    assert f"*** {name} is an administrator" in said and f"{record['seq']}:{sha256(kms.lines()[-1])}" in said
    assert "ADMINISTRATOR RECOVERED" in audit(kms) and name in audit(kms)
    with kms:
        new = Client(kms.dir / "new-admin.pem", key, ssh, name)
        me = kms.request("admin", "GET", "/v1/whoami", cert=new).json
        assert me["identity"] == {"kind": "human", "name": name, "state": "enabled"} and "administrator" in me["roles"]
        assert kms.signed("POST", f"/v1/identities/{kms.ci.name}/disable", {"reason": "a look around"}, cert=new).status == 200
        assert kms.signed("POST", f"/v1/identities/{kms.ci.name}/enable", {"reason": "those before still may"}).status == 200
        assert kms.sign("1.0.1").status == 200
    assert "ADMINISTRATOR RECOVERED" in audit(kms)


def test_the_record_cannot_go(stopped):
    """Without it the log no longer holds its anchor, nor its chain."""
    kms = stopped
    _, csr, ssh = files(kms)
    recover(kms, csr, ssh)
    with kms:
        assert kms.sign("1.0.1").status == 200
    segment = sorted((kms.dir / "audit").glob("*.jsonl"))[-1]
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(line for line in lines if b'"event":"admin.recover"' not in line))
    audit(kms, 1)
    edited = [line.replace(REASON.encode(), b"nothing to see here") if b'"event":"admin.recover"' in line else line for line in lines]
    segment.write_bytes(b"".join(edited))
    audit(kms, 1)


def test_a_policy_without_founders(stopped):
    """The new administrator could do nothing: refused, unless another policy comes along."""
    kms = stopped
    with kms:
        policy = kms.request("admin", "GET", "/v1/policy").json["policy"].replace("[founders]", f"['identity:{kms.admin.name}']")
        assert kms.signed("PUT", "/v1/policy", policy, {"Content-Type": "application/yaml"}).status == 200
    key, csr, ssh = files(kms)
    records = len(kms.lines())
    done = recover(kms, csr, ssh, check=False)
    assert done.returncode == 1 and b"--policy" in done.stderr and not (kms.dir / "new-admin.pem").exists()
    bootstrap = ROOT / "policy/examples/bootstrap.yaml"
    recover(kms, csr, ssh, "--policy", bootstrap)
    detail = kms.records()[records]["detail"]
    assert detail["policy_sha256"] == sha256(bootstrap.read_bytes())
    assert "another policy in force" in audit(kms)
    kms.start()
    try:
        new = Client(kms.dir / "new-admin.pem", key, ssh, detail["identity"]["name"])
        assert kms.request("admin", "GET", "/v1/policy", cert=new).json["policy"].encode() == bootstrap.read_bytes()
        assert kms.sign("1.0.1").status == 403
    finally:
        kms.stop()
    audit(kms)


@pytest.mark.parametrize("what", ["running", "named", "no ssh key", "same ssh key", "no reason", "two lines", "put back", "sealed"])
def test_refusals(own_kms, what):
    """Nothing is recorded, no certificate made."""
    kms = own_kms
    _, csr, ssh = files(kms, "/CN=Ada" if what == "named" else "/")
    words = {"running": b"stop the service first", "named": b"names its subject", "no ssh key": b"ssh", "same ssh key": b"belongs to an identity", "no reason": b"--reason",
             "two lines": b"--reason", "put back": b"record", "sealed": b"unseal"}[what]
    if what != "running":
        kms.stop()
    more = {"no reason": ["--reason", ""], "two lines": ["--reason", "a\nb"]}.get(what, [])
    if what == "no ssh key":
        ssh = kms.dir / "kmsd"
        ssh.with_name("kmsd.pub").write_text("ssh-rsa nonsense\n")
    if what == "same ssh key":
        ssh = kms.admin.ssh_key
    if what == "sealed":
        (kms.dir / "tokens/sealed").write_text("x\n")
    if what == "put back":
        segment = sorted((kms.dir / "audit").glob("*.jsonl"))[-1]
        segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:3]))
    before = kms.lines() if what != "running" else None
    done = recover(kms, csr, ssh, *more, check=False)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert not (kms.dir / "new-admin.pem").exists() and (before is None or kms.lines() == before)
    assert not kms.records(event="admin.recover")


def test_behind_a_torn_tail(stopped):
    """What a crash left is set aside first, and that stands in the log too."""
    kms = stopped
    _, csr, ssh = files(kms)
    with open(sorted((kms.dir / "audit").glob("*.jsonl"))[-1], "ab") as segment:
        segment.write(b'{"actor":{"cred":""')
    recover(kms, csr, ssh)
    assert [r["event"] for r in kms.records()[-2:]] == ["log.recovered", "admin.recover"]
    audit(kms)
    with kms:
        assert kms.sign("1.0.1").status == 200


def test_twice(stopped):
    """Each is a person of its own."""
    kms = stopped
    _, csr, ssh = files(kms)
    recover(kms, csr, ssh)
    assert b"belongs to an identity" in recover(kms, csr, ssh, check=False).stderr
    other, _ = kms.ssh_key("another")
    recover(kms, csr, other)
    assert len({json.dumps(r["detail"]["identity"]["name"]) for r in kms.records(event="admin.recover")}) == 2
    assert audit(kms).count("ADMINISTRATOR RECOVERED") == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_only_the_owner(stopped):
    kms = stopped
    _, csr, ssh = files(kms)
    run("chown", "nobody", kms.dir / "audit")
    done = recover(kms, csr, ssh, check=False)
    assert done.returncode == 1 and b"run this command as that user" in done.stderr


def test_the_key_is_not_written_over(stopped):
    """--admin-out with the name of the key by mistake."""
    key, csr, ssh = files(stopped)
    before, log = open(key).read(), stopped.lines()
    done = recover(stopped, csr, ssh, "--admin-out", key, check=False)
    assert done.returncode == 1 and b"private key" in done.stderr and open(key).read() == before and stopped.lines() == log


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "directory"])
def test_what_is_no_file_stays_what_it_is(stopped, tmp_path, kind):
    """Root would make a regular file of /dev/null."""
    _, csr, ssh = files(stopped)
    out = tmp_path / "out"
    if kind == "directory":
        out.mkdir()
    else:
        os.mkfifo(tmp_path / "pipe")
        out.symlink_to(tmp_path / "pipe")
        out = out if "link" in kind else tmp_path / "pipe"
    before, log = out.lstat().st_ino, stopped.lines()
    done = recover(stopped, csr, ssh, "--admin-out", out, check=False)
    assert done.returncode == 1 and b"no regular file" in done.stderr and out.lstat().st_ino == before and stopped.lines() == log
