"""Starting and stopping: what kmsd refuses to start with and what it says then, the production set-up, and what it finds after a crash."""
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from kms import BIN, Instance, run, sha256

SPY = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kmsd(*argv, env=None, timeout=60):
    done = run(BIN / "kmsd", *argv, check=False, env=env, timeout=timeout)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def serve(directory, *options, env=None):
    """`kmsd run` that is expected to end by itself."""
    return kmsd("run", "--settings", directory / "kmsd.yaml", *options, env=env)


def ports(count=2):
    """Ports of 127.0.0.1 that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A development instance with a few signatures, stopped."""
    kms = Instance(tmp_path_factory.mktemp("start") / "dir")
    with kms:
        for number in range(6):
            assert kms.sign(f"1.{number}.0").status == 200
    return kms.dir


@pytest.fixture
def stopped(made, tmp_path):
    """A copy of it at another place, not running: an Instance."""
    shutil.copytree(made, tmp_path / "dir")
    for conf in (tmp_path / "dir" / "tokens").glob("*/softhsm2.conf"):
        conf.write_text(conf.read_text().replace(str(made), str(tmp_path / "dir")))
    kms = Instance(tmp_path / "dir")
    yield kms
    kms.stop(check=False)


# Options and settings


@pytest.mark.parametrize("argv", [
    ["--nonsense"], ["nonsense"], ["run", "--nonsense"], ["dev", "--nonsense"], ["init", "--nonsense"], ["check", "--nonsense"],
    ["run"], ["dev"], ["init"], ["check"], []])
def test_wrong_usage(argv):
    code, out, err = kmsd(*argv)
    assert code == 2 and not out and err


@pytest.mark.parametrize("line,where,what", [
    ("nonsense: 1", "1:1", "nonsense"), ("limits:\n  nonsense: 1", "2:3", "limits.nonsense"),
    ("limits:\n  connections: many", "2:16", "limits.connections"), ("limits: 3", "1:1", "limits")])
def test_a_wrong_setting_is_named_with_its_place(stopped, line, where, what):
    file = stopped.dir / "kmsd.yaml"
    before = file.read_text()
    first, column = where.split(":")
    file.write_text(before + line + "\n")
    number = before.count("\n") + int(first)
    for argv in (["run", "--settings", file, "--allow-dev"], ["dev", "--dir", stopped.dir], ["check", "--settings", file]):
        code, out, err = kmsd(*argv)
        assert code == (78 if argv[0] == "run" else 1) and f"{file}:{number}:{column}:" in out + err and what in out + err, (argv, out, err)


def test_a_missing_setting_is_named(stopped):
    file = stopped.dir / "kmsd.yaml"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("instance")))
    code, _, err = serve(stopped.dir, "--allow-dev")
    assert code == 78 and "instance is missing" in err


def test_run_refuses_a_development_instance(stopped):
    code, _, err = serve(stopped.dir)
    assert code == 78 and "development instance" in err and "kmsd init" in err


# One daemon per directory


def test_two_daemons(own_kms):
    pid = own_kms.pid
    dev = ["dev", "--dir", own_kms.dir]
    for argv in (["run", "--settings", own_kms.dir / "kmsd.yaml", "--allow-dev"], dev, [*dev, "--detach"]):
        code, _, err = kmsd(*argv)
        assert code == 1 and f"process {pid} " in err.replace(":", " "), (argv, err)
        assert own_kms.pid == pid and alive(pid)
    assert own_kms.sign("1.0.0").status == 200
    own_kms.check_chain()
    assert len(own_kms.records(event="daemon.start")) == 1


# PIN files


def logins(spied):
    return spied.read_text().count("C_Login\n") if spied.exists() else 0


@pytest.fixture
def spied(stopped, tmp_path):
    """(instance, environment, file): every call of the token is written to the file."""
    if not os.path.exists(SPY):
        pytest.skip("needs pkcs11-spy.so of opensc")
    settings = (stopped.dir / "kmsd.yaml").read_text()
    module = next(line.split("'")[1] for line in settings.splitlines() if "module:" in line)
    (stopped.dir / "kmsd.yaml").write_text(settings.replace(module, SPY))
    out = tmp_path / "spy.txt"
    return stopped, {**os.environ, "PKCS11SPY": module, "PKCS11SPY_OUTPUT": str(out)}, out


WRONG = "00000000000000000000000000000000\n"


def served(kms, log, *options, env=None):
    """`kmsd run` in the background; what it says goes to a file."""
    return subprocess.Popen([BIN / "kmsd", "run", "--settings", kms.dir / "kmsd.yaml", "--allow-dev", *options], env=env, stderr=open(log, "wb"))


def ended(daemon):
    daemon.terminate()
    return daemon.wait(15)


def test_a_wrong_pin_is_tried_once(spied, tmp_path):
    """kmsd stays up, tries no PIN again, not even when started again, and says so; after kmsd unseal it makes one attempt."""
    kms, env, out = spied
    pin, before = (kms.dir / "pin-keys").read_text(), len(kms.lines())
    (kms.dir / "pin-keys").write_text(WRONG)
    for number in range(3):
        log = tmp_path / f"log{number}"
        daemon = served(kms, log, env=env)
        try:
            kms.wait(lambda: "event=not-ready" in log.read_text(), 20, "the refusal")
            time.sleep(0.5)
            assert daemon.poll() is None and logins(out) == 1
            said = log.read_text()
            assert "PIN" in said and "kmsd unseal" in said and "000000" not in said, said
            code, report, _ = kmsd("check", "--dir", kms.dir)
            assert code == 1 and "refused" in report and "kmsd unseal" in report
        finally:
            assert ended(daemon) == 0
    latch = (kms.dir / "tokens/sealed").read_text()
    assert "pin-keys" in latch and "000000" not in latch
    daemon = served(kms, tmp_path / "log", env=env)
    try:
        code, told, _ = kmsd("unseal", "--dir", kms.dir)
        assert code == 0 and "pin-keys" in told
        kms.wait(lambda: logins(out) == 2, 10, "one more attempt")
        kms.wait(lambda: (kms.dir / "tokens/sealed").exists(), 10, "the latch, again")
        time.sleep(0.5)
        assert logins(out) == 2
        (kms.dir / "pin-keys").write_text(pin)
        kmsd("unseal", "--settings", kms.dir / "kmsd.yaml")
        kms.wait(lambda: "event=ready" in (tmp_path / "log").read_text(), 10, "readiness")
    finally:
        assert ended(daemon) == 0
    assert not any(record["event"] == "sign.release" for record in kms.records()[before:])


def test_dev_says_that_the_pin_is_refused(stopped):
    (stopped.dir / "pin-keys").write_text(WRONG)
    begin = time.monotonic()
    code, _, said = kmsd("dev", "--dir", stopped.dir, "--detach")
    assert code == 1 and "kmsd.log" in said and "PIN" in said and "kmsd unseal" in said, said
    assert time.monotonic() - begin < 30


def test_a_pin_refused_while_running(own_kms):
    """The lane that had to be started again tries once; the others go on."""
    kms, pin = own_kms, (own_kms.dir / "pin-keys").read_text()
    assert kms.sign("1.0.0").status == 200
    (kms.dir / "pin-keys").write_text(WRONG)
    kms.kill(kms.lanes()[0])
    kms.wait(lambda: "refused its PIN" in (kms.dir / "kmsd.log").read_text(), 10, "the refusal")
    assert kms.sign("1.0.1").status == 200, "the lanes that are logged in serve on"
    for lane in kms.lanes():
        kms.kill(lane)
    kms.wait(lambda: not kms.lanes(), 10, "no lane is left")
    time.sleep(1)
    said = (kms.dir / "kmsd.log").read_text()
    assert said.count("call=C_Login") == 1 and "0000000000000000" not in said
    answer = kms.sign("1.1.0")
    assert (answer.status, answer.slug) == (503, "token-unavailable") and "PIN" in answer.json["detail"]
    assert kms.request("admin", "GET", "/v1/whoami").status == 200
    states = {lane["state"] for lane in kms.request("admin", "GET", "/v1/status").json["lanes"] if lane["role"] == "sign"}
    assert states == {"sealed"}
    (kms.dir / "pin-keys").write_text(pin)
    assert kmsd("unseal", "--dir", kms.dir)[0] == 0
    kms.wait(lambda: kms.sign("1.1.0").status == 200, 10, "signing")


# Limits


def test_more_connections_than_descriptors(stopped):
    """Said at the start: the hard limit does not allow what the settings promise."""
    settings = stopped.dir / "kmsd.yaml"
    settings.write_text(settings.read_text() + "limits: {connections: 5000}\n")
    done = subprocess.run(["prlimit", "--nofile=256:1024", BIN / "kmsd", "run", "--settings", settings, "--allow-dev"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and "limits.connections" in done.stderr and "LimitNOFILE" in done.stderr, done.stderr


def test_the_soft_limit_is_raised(stopped):
    """To the hard one, so that the default number of connections can be had under the usual soft limit."""
    env = {**os.environ}
    done = subprocess.run(["prlimit", "--nofile=256:4096", BIN / "kmsd", "dev", "--dir", stopped.dir, "--listen", "127.0.0.1:0", "--detach"],
                          capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0, done.stderr
    limits = open(f"/proc/{stopped.child('kmsd-front', door='ci')}/limits", encoding="ascii").read()
    assert re.search(r"Max open files +4096 +4096", limits), limits


# The token's file


def token_file(kms):
    return next((kms.dir / "tokens/keys/store").glob("*/token.object"))


@pytest.mark.parametrize("left", [0, 1, 160, 319])
def test_a_login_that_was_cut_short(stopped, left):
    """SoftHSM empties token.object and writes it again at every login; without it the token and all its keys are gone."""
    stopped.start()
    stopped.stop()
    file = token_file(stopped)
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    stopped.start()
    assert "put back from its copy" in (stopped.dir / "kmsd.log").read_text()
    assert stopped.sign("3.0.0").status == 200
    assert len(file.read_bytes()) == len(whole)


def test_lanes_killed_in_their_login(own_kms):
    """Again and again, at any moment of their start: the token survives."""
    kms = own_kms
    for turn in range(60):
        for pid in kms.lanes():
            with contextlib.suppress(AssertionError):  # it ended meanwhile: not ours to kill any more
                kms.kill(pid)
        time.sleep(0.001 * (turn % 23))
    kms.wait(lambda: kms.sign("4.0.0").status == 200, 60, "signing")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_pin_file_that_others_may_read(stopped, mode):
    file = stopped.dir / "pin-keys"
    file.chmod(mode)
    code, _, err = serve(stopped.dir, "--allow-dev")
    assert code == 78 and f"chmod 0600 {file}" in err, err
    code, out, _ = kmsd("check", "--dir", stopped.dir)
    assert code == 1 and f"chmod 0600 {file}" in out, out


def test_a_pin_file_that_is_a_link(stopped):
    file = stopped.dir / "pin-keys"
    file.rename(stopped.dir / "elsewhere")
    file.symlink_to("elsewhere")
    code, _, err = serve(stopped.dir, "--allow-dev")
    assert code == 78 and "symbolic link" in err, err


# Stopping


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_drains_and_is_recorded(stopped, sig):
    kms = stopped.start()
    pid, children = kms.pid, list(kms.children())
    connections = [kms.connect("ci") for _ in range(16)]
    for number, connection in enumerate(connections):
        body = json.dumps(kms.release("3.0.0", name=f"part{number}")).encode()
        connection.http.request("POST", "/v1/sign", body, {"Content-Type": "application/json"})
    os.kill(pid, sig)
    signed = []
    for connection in connections:
        try:
            answer = connection.http.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            continue
        assert answer.status in (200, 503), body
        if answer.status == 200:
            signed.append(json.loads(body)["record"])
    kms.wait(lambda: not alive(pid), 15, "the end of the daemon")
    assert not any(alive(child) for child in children)
    last = kms.records()[-1]
    assert last["event"] == "daemon.stop" and last["outcome"] == "ok" and last["actor"]["kind"] == "system"
    lines = kms.lines()
    assert all(sha256(lines[record["seq"]]) == record["hash"] for record in signed)
    run(BIN / "kms-audit", "verify", kms.dir, "--head", f"{len(lines) - 1}:{sha256(lines[-1])}")


def test_stop_without_a_daemon(stopped):
    code, _, err = kmsd("dev", "--dir", stopped.dir, "--stop")
    assert code == 1 and "no development server runs" in err


# What a crash left in the log


def segment(kms):
    return sorted((kms.dir / "audit").glob("*.jsonl"))[-1]


@pytest.mark.parametrize("tail", ["half a record", "zeros", "half a record and zeros"])
def test_a_torn_tail_is_set_aside(stopped, tail):
    file = segment(stopped)
    whole, lines = file.read_bytes(), stopped.lines()
    torn = {"half a record": lines[-2][:70], "zeros": b"\0" * 512, "half a record and zeros": lines[-2][:70] + b"\0" * 100}[tail]
    file.write_bytes(whole + torn)
    stopped.start()
    assert stopped.sign("2.0.0").status == 200
    stopped.stop()
    assert file.read_bytes().startswith(whole)
    record, = stopped.records(event="log.recovered")
    name = f"torn-{len(lines)}-{sha256(torn)}"
    assert record["seq"] >= len(lines) and record["detail"] == {"bytes": len(torn), "file": name, "sha256": sha256(torn)}
    assert (stopped.dir / "audit" / name).read_bytes() == torn
    run(BIN / "kms-audit", "verify", stopped.dir, "--head", f"{len(lines) - 1}:{sha256(lines[-1])}")
    stopped.check_chain()


@pytest.mark.parametrize("damage", ["a byte", "a line", "an order", "no first record"])
def test_a_damaged_log_is_not_served(stopped, damage):
    file, lines = segment(stopped), stopped.lines()
    place = len(lines) // 2
    if damage == "a byte":
        lines[place] = lines[place].replace(b'"outcome":"ok"', b'"outcome":"no"')
    elif damage == "a line":
        del lines[place]
    elif damage == "an order":
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
    else:
        del lines[0]
    data = b"".join(line + b"\n" for line in lines)
    file.write_bytes(data)
    code, _, err = serve(stopped.dir, "--allow-dev")
    assert code == 78 and ("damaged" in err or "record" in err), err
    assert file.read_bytes() == data
    assert not list((stopped.dir / "audit").glob("torn-*"))
    assert run(BIN / "kms-audit", "verify", stopped.dir, check=False).returncode == 1


# Production


POLICY = """version: 1
roles:
  administrator:
    - name: administer
      allow: [key.list, key.read, key.create, policy.read, policy.check, policy.apply, identity.list, identity.read,
              identity.create, identity.disable, identity.enable, release.withdraw, status.read]
  shop:
    - name: sign-shop
      allow: [sign]
      keys: [shop]
      apps: [com.example.shop]
      channels: [production]
    - name: look
      allow: [key.list, key.read]
grants:
  - {role: administrator, to: [founders]}
  - {role: shop, to: ['identity:ci-shop']}
"""


def request(folder, stem):
    """A P-256 key and a signing request of our own."""
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", folder / f"{stem}.key")
    (folder / f"{stem}.key").chmod(0o600)
    run("openssl", "req", "-new", "-key", folder / f"{stem}.key", "-subj", f"/CN={stem}", "-out", folder / f"{stem}.csr")


def init(home, directory):
    return ["init", "--dir", directory, "--origin", "kms.example.com", "--admin-csr", home / "admin.csr", "--admin-ssh", home / "admin_ssh.pub"]


@pytest.fixture
def production(tmp_path):
    """(working folder, instance directory, running `kmsd run`)."""
    home, directory = tmp_path / "home", tmp_path / "instance"
    home.mkdir()
    request(home, "admin")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@example.com", "-f", home / "admin_ssh")
    ci, admin = ports()
    code, out, err = kmsd(*init(home, directory), "--listen-ci", f"127.0.0.1:{ci}", "--listen-admin", f"127.0.0.1:{admin}")
    assert code == 0, err
    assert "first administrator" in out
    code, out, err = kmsd("check", "--dir", directory)
    assert code == 0 and "0 problems" in out, out
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(60)
    with open(tmp_path / "log", "wb") as log:
        daemon = subprocess.Popen([BIN / "kmsd", "run", "--settings", directory / "kmsd.yaml"], stdout=log, stderr=log,
                                  env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")})
    try:
        assert b"READY=1" in notify.recv(1000)
        addresses = {"KMS_ADDR": f"https://127.0.0.1:{ci}", "KMS_ADMIN_ADDR": f"https://127.0.0.1:{admin}",
                     "KMS_CACERT": str(directory / "tls" / "ca.pem")}
        yield home, directory, daemon, addresses
    finally:
        notify.close()
        if daemon.poll() is None:
            daemon.terminate()
        daemon.wait(20)


def test_production_from_init_to_a_verified_release(production):
    home, directory, daemon, addresses = production
    admin = {**os.environ, **addresses, "KMS_CERT": str(directory / "admin.pem"), "KMS_KEY": str(home / "admin.key"),
             "KMS_SSH_KEY": str(home / "admin_ssh")}
    job = {**os.environ, **addresses, "KMS_CERT": str(home / "ci.pem"), "KMS_KEY": str(home / "ci.key"), "KMS_SIGN_KEY": "shop",
           "KMS_APP": "com.example.shop", "KMS_CHANNEL": "production"}
    ctl = BIN / "kmsctl"
    (home / "policy.yaml").write_text(POLICY)
    (home / "shop.zip").write_bytes(b"a bundle")
    request(home, "ci")
    run(ctl, "key", "create", "shop", "--algorithm", "p256", "--scheme", "statement", env=admin)
    run(ctl, "identity", "create", "ci-shop", "--kind", "ci", "--csr", home / "ci.csr", "--cert-out", home / "ci.pem", env=admin)
    refused = run(ctl, "sign", home / "shop.zip", "--version", "1.0.0", env=job, check=False)
    assert refused.returncode == 1 and not (home / "shop.zip.dsse.json").exists()
    run(ctl, "policy", "apply", home / "policy.yaml", env=admin)
    signed = json.loads(run(ctl, "sign", home / "shop.zip", "--version", "1.0.0", "--output", "json", env=job).stdout)
    envelope = home / "shop.zip.dsse.json"
    (home / "pub.pem").write_bytes(run(ctl, "key", "public", "shop", env=job).stdout)
    (home / "pae").write_bytes(run(ctl, "statement", "pae", envelope, "--signature-out", home / "sig").stdout)
    assert b"Verified OK" in run("openssl", "dgst", "-sha256", "-verify", home / "pub.pem", "-signature", home / "sig", home / "pae").stdout
    run(ctl, "verify", home / "shop.zip", envelope, "--pub", home / "pub.pem")
    assert b'"environment":"production"' in (home / "pae").read_bytes()
    (home / "shop.zip").write_bytes(b"another bundle")
    assert run(ctl, "sign", home / "shop.zip", "--version", "1.0.0", env=job, check=False).returncode == 1
    assert run(ctl, "sign", home / "shop.zip", "--version", "0.9.0", env=job, check=False).returncode == 1
    assert run(ctl, "verify", home / "shop.zip", envelope, "--pub", home / "pub.pem", check=False).returncode != 0
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(20) == 0
    run(BIN / "kms-audit", "verify", directory, "--head", f"{signed['record']['seq']}:{signed['record']['hash']}")
    log = b"".join(file.read_bytes() for file in (directory / "audit").glob("*.jsonl"))
    assert json.loads(log.splitlines()[-1])["event"] == "daemon.stop"
    assert b"ada@example.com" not in log and b"CN=admin" not in log


def test_init_touches_no_existing_instance(production):
    home, directory, daemon, _ = production
    daemon.terminate() # a running service writes in its directory
    assert daemon.wait(20) == 0
    before = {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
    code, _, err = kmsd(*init(home, directory))
    assert code == 1 and "holds an instance" in err
    assert {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()} == before
    # Nor does the development server, which would make a key and an identity.
    code, _, err = kmsd("dev", "--dir", directory, "--detach")
    assert code == 1 and "is a production instance" in err
    assert {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()} == before


def test_init_reads_its_files_before_it_makes_anything(tmp_path):
    request(tmp_path, "admin")
    for wrong in ("nowhere.pub", "admin.csr"):
        code, _, err = kmsd("init", "--dir", tmp_path / "i", "--origin", "kms.example.com", "--admin-csr", tmp_path / "admin.csr", "--admin-ssh", tmp_path / wrong)
        assert code == 1 and f"{tmp_path / wrong}: " in err and not (tmp_path / "i").exists(), err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_does_not_run_the_instance_of_another(production):
    """What root writes in it, a lock first of all, would keep the owner out."""
    _, directory, daemon, _ = production
    daemon.terminate()
    assert daemon.wait(20) == 0
    (directory / "lock").unlink()
    os.chown(directory / "audit", 12345, 12345)
    code, _, err = serve(directory)
    assert code == 78 and "belongs to the user with number 12345" in err and not (directory / "lock").exists()


def test_init_writes_over_no_key(tmp_path):
    """The administrator's key in DIR, by the name that the certificate gets."""
    request(tmp_path, "admin")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", tmp_path / "admin_ssh")
    key = (tmp_path / "admin.key").rename(tmp_path / "admin.pem").read_bytes()
    code, _, err = kmsd(*init(tmp_path, tmp_path))
    assert code == 1 and "private key" in err and (tmp_path / "admin.pem").read_bytes() == key and not (tmp_path / "kmsd.yaml").exists()


def test_a_port_that_is_taken_for_a_moment(production):
    """A client that looks for a dead daemon may sit on its port for a moment: the start waits for it, and gives up on a lasting one."""
    home, directory, daemon, addresses = production
    daemon.terminate()
    assert daemon.wait(20) == 0
    port = int(addresses["KMS_ADDR"].rsplit(":", 1)[1])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        code, _, err = kmsd("run", "--settings", directory / "kmsd.yaml")
        assert code == 1 and f"listening on 127.0.0.1:{port}: Address already in use" in err
        again = subprocess.Popen([BIN / "kmsd", "run", "--settings", directory / "kmsd.yaml"], stderr=subprocess.PIPE, text=True)
        try:
            time.sleep(0.5)
            assert again.poll() is None
            other.close()
            assert any("event=ready" in line for line in again.stderr)
        finally:
            again.terminate()
            again.communicate(timeout=20)
    assert again.returncode == 0
