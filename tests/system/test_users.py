"""Processes as accounts of their own: core, doors and lanes cannot touch each other's files."""
import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from kms import BUILD, ROOT, Client, Instance, run, sha256

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only it starts processes as others")
USERS = {"core": "daemon", "front": "nobody", "token": "bin"}


@pytest.fixture
def split():
    """An instance, stopped, whose files belong to three accounts; and the programs where these can read them."""
    home = Path(tempfile.mkdtemp(prefix="kmsd-users."))
    home.chmod(0o755)
    for name in ("bin", "libexec"):
        shutil.copytree(BUILD / name, home / name)
    kms = Instance(home / "dir")
    with kms:
        assert kms.sign("1.0.0").status == 200
    kms.dir.chmod(0o755)
    settings = kms.dir / "kmsd.yaml"
    settings.write_text(settings.read_text() + "users:\n" + "".join(f"  {who}: {name}\n" for who, name in USERS.items()))
    settings.chmod(0o644)
    for who, names in {"core": ["audit", "snapshots", "anchor", "index"], "front": ["tls"], "token": ["tokens", "pin-keys", "pin-checkpoint"]}.items():
        for name in names:
            path = kms.dir / name
            path.mkdir(exist_ok=True) if name == "snapshots" else None
            shutil.chown(path, USERS[who])
            for inner in path.rglob("*") if path.is_dir() else []:
                shutil.chown(inner, USERS[who])
    (kms.dir / "tls").chmod(0o755)
    yield kms, home
    shutil.rmtree(home)


def kmsd(home, *argv):
    return run(home / "bin/kmsd", *argv, check=False, timeout=60)


def test_each_process_has_its_account(split):
    kms, home = split
    assert kmsd(home, "check", "--dir", kms.dir).returncode == 0
    started = kmsd(home, "dev", "--dir", kms.dir, "--listen", "127.0.0.1:0", "--detach")
    assert started.returncode == 0, started.stderr.decode() + (kms.dir / "kmsd.log").read_text()
    try:
        kms.env, kms.ci_env = kms._read_env("env"), kms._read_env("ci.env")
        wanted = {"kmsd-core": "core", "kmsd-front": "front", "kmsd-token": "token", "kmsd-reader": "core"}
        children = kms.children()
        for pid, argv in children.items():
            status = Path(f"/proc/{pid}/status").read_text()
            account = pwd.getpwnam(USERS[wanted[os.path.basename(argv[0])]])
            assert re.search(r"^Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)$", status, re.M).groups() == (str(account.pw_uid),) * 4
            assert re.search(r"^Gid:\t(\d+)\t", status, re.M)[1] == str(account.pw_gid) and re.search(r"^Groups:\s*$", status, re.M)
            assert re.search(r"^CapEff:\t0+$", status, re.M) and re.search(r"^CapPrm:\t0+$", status, re.M) and re.search(r"^NoNewPrivs:\t1$", status, re.M)
        assert kms.sign("2.0.0").status == 200
        assert kms.signed("POST", "/v1/keys", {"name": "second", "algorithm": "p256", "scheme": "statement"}).status == 201
        for pid in children:
            with contextlib.suppress(ProcessLookupError):  # without the core the others end by themselves
                os.kill(pid, 9)
        kms.wait(lambda: not set(children) & set(kms.children()), 10, "their end")
        kms.wait(lambda: signs(kms), 20, "the next set, as the same accounts")
        (kms.dir / "pin-keys").write_text("0" * 32 + "\n")
        for pid in kms.lanes():
            os.kill(pid, 9)
        kms.wait((kms.dir / "tokens/sealed").exists, 10, "the latch, seen by the supervisor")
    finally:
        kmsd(home, "dev", "--dir", kms.dir, "--stop")
    run(home / "bin/kms-audit", "verify", kms.dir)


def signs(kms):
    try:
        return kms.sign("3.0.0").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("name,why", [("no-such-account", "no account"), ("root", "without its powers")])
def test_accounts_that_will_not_do(split, name, why):
    kms, home = split
    settings = kms.dir / "kmsd.yaml"
    settings.write_text(settings.read_text().replace("core: daemon", f"core: {name}"))
    done = kmsd(home, "run", "--settings", settings, "--allow-dev")
    assert done.returncode == 78 and why in done.stderr.decode(), done.stderr


def test_check_says_what_does_not_fit(split):
    kms, home = split
    shutil.chown(kms.dir / "pin-keys", "root")
    done = kmsd(home, "check", "--dir", kms.dir)
    assert done.returncode == 1 and b"pin-keys" in done.stdout and b"chown" in done.stdout


def test_only_root_may(split):
    kms, home = split
    nobody = pwd.getpwnam("nobody")
    for path in [kms.dir, *kms.dir.rglob("*")]:
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    done = subprocess.run([home / "bin/kmsd", "run", "--settings", kms.dir / "kmsd.yaml", "--allow-dev"], capture_output=True, timeout=60,
                          user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
    assert done.returncode == 1 and b"only root" in done.stderr, done.stderr


def owners(kms):
    """Whose the files of the log are, the anchor and what the token has."""
    return {str(path): path.owner() for name in ("audit", "tokens", "anchor") for path in (kms.dir / name, *(kms.dir / name).rglob("*"))}


def test_commands_of_the_operator(split):
    """Run as root they leave every file to the account that goes on with it: the service starts and signs afterwards."""
    kms, home = split
    done = kmsd(home, "change-pin", "keys", "--dir", kms.dir)
    assert done.returncode == 1 and b"its folder must be one that the account of the tokens may write to" in done.stderr
    for name in ("pin-keys", "pin-checkpoint"):
        (kms.dir / name).rename(kms.dir / "tokens" / name)
    settings = kms.dir / "kmsd.yaml"
    settings.write_text(settings.read_text().replace("pin_file: pin-", "pin_file: tokens/pin-"))
    before = owners(kms)
    key, csr = kms.csr("rescued", "/")
    (kms.dir / "rescued.csr").write_text(csr)
    ssh, _ = kms.ssh_key("rescued")
    (kms.dir / "other.yaml").write_text((kms.dir / "policy.yaml").read_text() if (kms.dir / "policy.yaml").exists() else
                                        (ROOT / "policy/examples/bootstrap.yaml").read_text())
    recover = ["recover-admin", "--admin-csr", kms.dir / "rescued.csr", "--admin-ssh", f"{ssh}.pub", "--reason", "all gone", "--admin-out",
               kms.dir / "rescued.pem", "--policy", kms.dir / "other.yaml"]
    for words in (["renew-ca"], ["renew-server"], ["change-pin", "keys"], recover, ["anchor", "--accept", "--reason", "a look", "--yes", "--token", head(kms)]):
        for lock in ("audit/lock", "tokens/lock"):
            (kms.dir / lock).unlink(missing_ok=True)  # as after a restore from a backup
        done = kmsd(home, *words, "--dir", kms.dir)
        assert done.returncode == 0, (words, done.stderr)
        now = owners(kms)
        assert {path: who for path, who in now.items() if who == "root"} == {} and {p: w for p, w in before.items() if now.get(p, w) != w} == {}, words
    assert [r["event"] for r in kms.records()][-3:] == ["ca.renew", "admin.recover", "anchor.reset"]
    started = kmsd(home, "dev", "--dir", kms.dir, "--listen", "127.0.0.1:0", "--detach")
    assert started.returncode == 0, started.stderr.decode() + (kms.dir / "kmsd.log").read_text()
    try:
        kms.env, kms.ci_env = kms._read_env("env"), kms._read_env("ci.env")
        assert kms.request("admin", "GET", "/v1/whoami", cert=Client(kms.dir / "rescued.pem", key, ssh)).status == 200
    finally:
        kmsd(home, "dev", "--dir", kms.dir, "--stop")
    run(home / "bin/kms-audit", "verify", kms.dir)


def head(kms):
    return f"{kms.records()[-1]['seq']}:{sha256(kms.lines()[-1])}"


def test_commands_of_the_operator_as_another(split):
    """Root without accounts in the settings would leave files that the service cannot read."""
    kms, home = split
    settings = kms.dir / "kmsd.yaml"
    settings.write_text(settings.read_text().split("users:")[0])
    pins = [(kms.dir / name).stat().st_mtime_ns for name in ("pin-keys", "pin-checkpoint")]
    for words in (["renew-ca"], ["renew-server"], ["change-pin", "keys"]):
        done = kmsd(home, *words, "--dir", kms.dir)
        assert done.returncode == 1 and b"run this command as that user" in done.stderr, (words, done.stderr)
    assert pins == [(kms.dir / name).stat().st_mtime_ns for name in ("pin-keys", "pin-checkpoint")]
