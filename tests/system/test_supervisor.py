"""kmsd run and kmsd check with fake children: who is started with what, what is started again, and how all of it ends."""
import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from kms import BIN

HERE = Path(__file__).resolve().parent
KMSD = BIN / "kmsd"
ROLES = {"front-ci": 1, "front-admin": 2, "lane-admin": 3, "lane-sign": 4, "reader": 6}
EVERYBODY = {"core", *ROLES}
ALL = len(EVERYBODY)
SETTINGS = """version: 1
instance: test.example
listen: {ci: '127.0.0.1:0', admin: '127.0.0.1:0', health: 'off'}
tls: {certificate: tls/server.pem, key: tls/server.key, client_ca: [tls/ca.pem]}
tokens:
  lock: tokens/lock
  keys: {module: module.so, label: kmsd-keys, pin_file: pin-keys, lanes: 1}
  checkpoint: {module: module.so, label: kmsd-checkpoint, pin_file: pin-checkpoint}
audit: {directory: audit}
"""


def wait(condition, seconds=10, what="the condition"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def alive(pid):
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Directory:
    """An instance whose children are fake_child.py."""

    def __init__(self, path, mode="production"):
        self.dir, self.libexec, self.daemons = path / "dir", path / "libexec", []
        (self.dir / "audit").mkdir(parents=True)
        self.libexec.mkdir()
        (self.dir / "tokens").mkdir()
        for name in ("core", "front", "token", "reader"):
            shutil.copy(HERE / "fake_child.py", self.libexec / f"kmsd-{name}")
            (self.libexec / f"kmsd-{name}").chmod(0o755)
        (self.dir / "kmsd.yaml").write_text(SETTINGS)
        (self.dir / "audit/00000000000000000000.jsonl").write_text(json.dumps({"detail": {"mode": mode}}) + "\n")

    def start(self, wait_ready=True):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(self.dir / f"notify{len(self.daemons)}"))
        notify.settimeout(10)
        env = {**os.environ, "KMSD_LIBEXEC": str(self.libexec), "NOTIFY_SOCKET": notify.getsockname()}
        with open(self.dir / "stderr", "ab") as log:
            daemon = subprocess.Popen([KMSD, "run", "--settings", self.dir / "kmsd.yaml"], stderr=log, env=env)
        self.daemons.append(daemon)
        if wait_ready:
            assert notify.recv(64) == b"READY=1\nSTATUS=ready\n", self.log
        notify.close()
        return daemon

    def close(self):
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        wait(lambda: not self.living(), 5, "the end of all children")

    @property
    def log(self):
        return (self.dir / "stderr").read_text()

    def wish(self, name, text):
        (self.dir / f"{name}.new").write_text(text)
        (self.dir / f"{name}.new").rename(self.dir / name)

    def reports(self, event, name=None, **members):
        lines = (self.dir / "report.jsonl").read_text().splitlines() if (self.dir / "report.jsonl").exists() else []
        every = [json.loads(line) for line in lines]
        return [r for r in every if r["event"] == event and name in (None, r["name"]) and all(r[k] == v for k, v in members.items())]

    def starts(self, name):
        return self.reports("start", name)

    def pid(self, name):
        return self.starts(name)[-1]["pid"]

    def pids(self):
        return {name: self.pid(name) for name in EVERYBODY}

    def living(self):
        return {r["pid"] for r in self.reports("start") if alive(r["pid"])}

    def kill(self, name):
        """Kills the process and waits for the next one; returns the pid of both."""
        old, before = self.pid(name), len(self.starts(name))
        os.kill(old, signal.SIGKILL)
        wait(lambda: len(self.starts(name)) > before, what=f"another {name}")
        return old, self.pid(name)


@pytest.fixture
def instance(tmp_path):
    made = Directory(tmp_path)
    yield made
    made.close()


@pytest.fixture
def running(instance):
    instance.daemon = instance.start()
    wait(lambda: len(instance.reports("start")) == ALL, what="the start of every child")
    return instance


def test_children_get_what_they_need(running):
    common = ["--settings", str(running.dir / "kmsd.yaml"), "--parent", str(running.daemon.pid)]
    expected = {"core": [], "front-ci": ["--door", "ci"], "front-admin": ["--door", "admin"],
                "lane-admin": ["--lane", "admin", "--index", "0"], "lane-sign": ["--lane", "sign", "--index", "0"], "reader": []}
    for name, more in expected.items():
        start, = running.starts(name)
        assert start["argv"] == common + more
        assert start["fds"] == ([0, 1, 2, 3, 4] if name.startswith("front") else [0, 1, 2, 3]), "a descriptor too many or too few"
        assert start["blocked"] == 0, "the supervisor's signal mask reached a child"
    told = running.reports("CHILD", "core")
    assert {(r["role"], r["index"], r["child"]) for r in told} == {(role, 0, running.pid(name)) for name, role in ROLES.items()}
    assert all(r["socket"] for r in told)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(running, number):
    running.daemon.send_signal(number)
    assert running.daemon.wait(10) == 0
    assert len(running.reports("STOP", "core")) == 1
    wait(lambda: not running.living(), 2, "the end of all children")
    assert len(running.reports("start")) == ALL, "nothing is started again while stopping"


def test_hangup_renews_the_doors(running):
    """Both are replaced at once, nobody else; the core hears that it was meant."""
    before = running.pids()
    running.daemon.send_signal(signal.SIGHUP)
    wait(lambda: len(running.reports("start")) == ALL + 2, what="the start of two doors")
    after = running.pids()
    assert {name for name in before if before[name] != after[name]} == {"front-ci", "front-admin"}
    assert [r["reason"] for r in running.reports("CHILD_GONE", "core")] == ["renewed"] * 2


def test_hangup_with_files_that_are_wrong(running):
    """What the doors would refuse does not cost those that run."""
    (running.dir / "front-ci.check").write_text("78")
    before = running.pids()
    running.daemon.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert running.daemon.poll() is None and running.pids() == before


@pytest.mark.parametrize("name", ["lane-sign", "front-ci"])
def test_child_is_started_again(running, name):
    others = {n: p for n, p in running.pids().items() if n != name}
    port = running.starts(name)[0]["port"]
    begun = time.monotonic()
    old, new = running.kill(name)
    assert time.monotonic() - begun < 3, "the first time is at once"
    gone, = wait(lambda: running.reports("CHILD_GONE", "core", role=ROLES[name]))
    assert gone["child"] == old and gone["reason"] == "signal 9"
    told = wait(lambda: running.reports("CHILD", "core", role=ROLES[name], child=new))
    assert told[0]["socket"]
    assert running.starts(name)[-1]["port"] == port, "a front keeps its port"
    assert {n: p for n, p in running.pids().items() if n != name} == others


def test_crashing_child_waits_longer_each_time(running):
    running.wish("lane-admin.exit", "3")
    times = []
    running.kill("lane-admin")
    for n in range(3, 7):
        wait(lambda n=n: len(running.starts("lane-admin")) >= n)
        times.append(time.monotonic())
    assert times[3] - times[2] > 1.2 * (times[1] - times[0]) and times[3] - times[0] > 1.2, "0.2 s, 0.4 s, 0.8 s"
    (running.dir / "lane-admin.exit").unlink()
    wait(lambda: alive(running.pid("lane-admin")))
    assert running.daemon.poll() is None


def test_listening_goes_on_while_a_front_is_away(running):
    port = running.starts("front-ci")[0]["port"]
    running.wish("front-ci.exit", "1")
    os.kill(running.pid("front-ci"), signal.SIGKILL)
    for _ in range(5):
        socket.create_connection(("127.0.0.1", port), 2).close()


def test_core_end_restarts_all(running):
    before = running.pids()
    running.kill("core")
    wait(lambda: len(running.reports("start")) == 2 * ALL and not set(running.pids().values()) & set(before.values()), what="a new set")
    wait(lambda: running.living() == set(running.pids().values()), what="the end of the old set")
    told = wait(lambda: len(t := running.reports("CHILD", "core", pid=running.pid("core"))) == len(ROLES) and t)
    assert {r["child"] for r in told} == {running.pid(name) for name in ROLES}


def test_children_that_hang_are_killed(running):
    running.wish("front-ci.stubborn", "")
    before = running.pid("front-ci")
    os.kill(running.pid("core"), signal.SIGKILL)
    wait(lambda: not alive(before), 3, "the end of the old front")
    wait(lambda: len(running.reports("start")) == 2 * ALL)
    running.daemon.terminate()
    assert running.daemon.wait(6) == 0
    wait(lambda: not running.living(), 2, "the end of all children")


@pytest.mark.parametrize("program, name, starts", [("kmsd-token", "lane-sign", ALL + 1), ("kmsd-core", "core", 2 * ALL), ("kmsd-front", "core", 2 * ALL)])
def test_failed_start_is_tried_again(running, program, name, starts):
    """A program that is away for a moment, or a fork that fails, must not leave the instance without that process."""
    (running.libexec / program).chmod(0o644)
    os.kill(running.pid(name), signal.SIGKILL)
    wait(lambda: f"{program}: Permission denied" in running.log)
    (running.libexec / program).chmod(0o755)
    wait(lambda: len(running.living()) == ALL and len(running.reports("start")) == starts, what="a whole set")


def test_kill_frame(running):
    pid = running.pid("lane-sign")
    running.wish("core.kill", json.dumps({"role": ROLES["lane-sign"], "index": 0, "pid": running.pid("lane-admin")}))
    wait(lambda: not (running.dir / "core.kill").exists())
    time.sleep(0.3)
    assert len(running.reports("start")) == ALL, "a pid that is not that child's"
    running.wish("core.kill", json.dumps({"role": ROLES["lane-sign"], "index": 0, "pid": pid}))
    wait(lambda: len(running.starts("lane-sign")) == 2)
    assert not alive(pid)


def test_kill_9_ends_all_and_a_restart_succeeds(running):
    pids = running.pids()
    running.daemon.kill()
    running.daemon.wait()
    wait(lambda: not any(alive(pid) for pid in pids.values()), 2, "the end of all children")
    again = running.start()
    again.terminate()
    assert again.wait(10) == 0


def test_core_that_refuses_stops_kmsd(instance):
    instance.wish("core.exit", "78")
    daemon = instance.start(wait_ready=False)
    assert daemon.wait(10) == 78
    assert len(instance.starts("core")) == 1, "it is not tried again"
    wait(lambda: not instance.living(), 2)


def test_core_that_refuses_after_a_crash_stops_kmsd(running):
    running.wish("core.exit", "78")
    os.kill(running.pid("core"), signal.SIGKILL)
    assert running.daemon.wait(10) == 78
    assert "the core refuses to start" in running.log


def unseal(directory):
    return subprocess.run([KMSD, "unseal", "--settings", directory / "kmsd.yaml"], capture_output=True, text=True, timeout=10, check=True).stdout


def test_refused_pin_seals_until_unsealed(instance):
    """kmsd stays up and tries no PIN again: not after a while, not after a restart, only after kmsd unseal."""
    instance.wish("lane-sign.exit", "77")
    instance.wish("core.silent", "")
    daemon = instance.start(wait_ready=False)
    wait(lambda: "refused its PIN" in instance.log)
    assert (instance.dir / "tokens/sealed").exists()
    (instance.dir / "lane-sign.exit").unlink()
    time.sleep(0.5)
    assert len(instance.starts("lane-sign")) == 1 and daemon.poll() is None
    assert [line["reason"] for line in instance.reports("CHILD_GONE")] == ["sealed"]
    assert "unsealed" in unseal(instance.dir) and "not sealed" in unseal(instance.dir)
    wait(lambda: len(instance.starts("lane-sign")) == 2)
    daemon.terminate()
    assert daemon.wait(10) == 0


@pytest.mark.parametrize("kind", ["text", "long", "link", "hard link", "dangling", "pipe"])
def test_unseal_shows_nothing_but_what_a_token_said(instance, tmp_path, kind):
    """The latch lies where the account of the tokens may write, and the operator is often root."""
    latch, secret = instance.dir / "tokens/sealed", tmp_path / "secret"
    latch.parent.mkdir(exist_ok=True)
    secret.write_text("of root alone\n")
    if kind == "link":
        latch.symlink_to(secret)
    elif kind == "dangling":
        latch.symlink_to("/nowhere")
    elif kind == "hard link":
        os.link(secret, latch)
    elif kind == "pipe":
        os.mkfifo(latch)
    else:
        latch.write_text("refused \x1b]0;evil\x07 \u202e\n\x1b[2J" if kind == "text" else "x" * 5000)
    told = unseal(instance.dir)
    assert told.startswith("unsealed") and told.endswith("\n") and told[:-1].isascii() and told[:-1].isprintable() and "alone" not in told
    assert ("refused ?]0;evil?" in told) == (kind == "text") and not os.path.lexists(latch) and secret.read_text() == "of root alone\n"


def test_refused_pin_later_latches_the_lane(running):
    running.wish("lane-sign.exit", "77")
    running.kill("lane-sign")
    wait(lambda: "refused its PIN" in running.log)
    (running.dir / "lane-sign.exit").unlink()
    time.sleep(0.5)
    assert len(running.starts("lane-sign")) == 2 and running.daemon.poll() is None
    running.kill("core")
    wait(lambda: len(running.starts("lane-admin")) == 2)
    time.sleep(0.3)
    assert len(running.starts("lane-sign")) == 2, "a new core does not bring the lane back"
    unseal(running.dir)
    wait(lambda: len(running.starts("lane-sign")) == 3)
    running.daemon.terminate()
    assert running.daemon.wait(10) == 0


def test_second_daemon_is_refused(running):
    env = {**os.environ, "KMSD_LIBEXEC": str(running.libexec)}
    begun = time.monotonic()
    second = subprocess.run([KMSD, "run", "--settings", running.dir / "kmsd.yaml"], env=env, capture_output=True, text=True, timeout=20)
    assert second.returncode == 1 and f"process {running.daemon.pid}" in second.stderr and "another kmsd" in second.stderr
    assert time.monotonic() - begun < 7
    assert running.daemon.poll() is None and len(running.reports("start")) == ALL


def test_restart_waits_for_the_one_that_ends(running):
    """A service manager may start the next kmsd before the last one has let go of the directory."""
    running.daemon.send_signal(signal.SIGSTOP)
    second = running.start(wait_ready=False)
    time.sleep(0.5)
    assert second.poll() is None and len(running.reports("start")) == ALL
    running.daemon.kill()
    running.daemon.wait()
    wait(lambda: len(running.reports("start")) == 2 * ALL)
    second.terminate()
    assert second.wait(10) == 0


def test_development_directory_is_refused(tmp_path):
    made = Directory(tmp_path, mode="dev")
    done = subprocess.run([KMSD, "run", "--settings", made.dir / "kmsd.yaml"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 78 and "kmsd dev" in done.stderr


@pytest.mark.parametrize("spoil, words", [(None, "kmsd.yaml cannot be read"), ("version: 1\n", "is missing"), ("- a\n", "kmsd.yaml")])
def test_settings_that_are_refused_are_not_tried_again(tmp_path, spoil, words):
    """78, which the unit does not restart after: the file says the same the next time."""
    if spoil:
        (tmp_path / "kmsd.yaml").write_text(spoil)
    done = kmsd("run", "--dir", tmp_path)
    assert done.returncode == 78 and words in done.stderr, done


def kmsd(*args, **more):
    return subprocess.run([KMSD, *args], capture_output=True, text=True, timeout=20, **more)


def test_usage():
    for command in ("run", "check", "init", "dev"):
        assert command in kmsd("--help").stdout
        done = kmsd(command, "--help")
        assert done.returncode == 0 and f"usage: kmsd {command}" in done.stdout and not done.stderr
        done = kmsd(command, "--bogus")
        assert done.returncode == 2 and "bogus" in done.stderr and f"usage: kmsd {command}" in done.stderr
    assert kmsd("--help").returncode == 0
    assert kmsd("--version").stdout.startswith("kmsd ")
    assert kmsd().returncode == 2
    done = kmsd("bogus")
    assert done.returncode == 2 and "bogus" in done.stderr
    init = ["init", "--dir", "x", "--origin", "y", "--admin-ssh", "z"]
    for argv, why in ((["run"], "--dir or --settings"), (["check"], "--dir or --settings"), (["unseal", "--dir", "x", "y"], "an argument"), (["dev"], "--dir is"),
                      (["init"], "--dir is"), (init[:3], "--origin is"), (init[:5], "--admin-ssh is"), (init, "--admin-csr is"),
                      ([*init, "--admin-csr", "a", "--admin-cert", "b"], "not both"), (["change-pin", "--dir", "x"], "keys or checkpoint"),
                      (["change-pin", "keys"], "--dir or --settings"), (["anchor", "--dir", "x", "--accept"], "needs --reason"),
                      (["anchor", "--dir", "x", "--yes"], "go with --accept"), (["recover-admin", "--dir", "x"], "--admin-csr is")):
        done = kmsd(*argv)
        assert done.returncode == 2 and done.stderr.startswith(f"kmsd {argv[0]}: ") and why in done.stderr.splitlines()[0], done
    assert kmsd("run", "--settings", "x", "more").returncode == 2


@pytest.fixture
def sound(tmp_path):
    """A directory in which kmsd check finds nothing wrong."""
    made = Directory(tmp_path).dir
    (made / "tls").mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test", "-days", "300",
                    "-keyout", made / "tls/server.key", "-out", made / "tls/server.pem"], check=True, capture_output=True)
    shutil.copy(made / "tls/server.pem", made / "tls/ca.pem")
    for name in ("pin-keys", "pin-checkpoint", "module.so"):
        (made / name).write_text("x\n")
    for name in ("pin-keys", "pin-checkpoint", "tls/server.key"):
        (made / name).chmod(0o600)
    line = json.dumps({"detail": {"instance": "5a" * 16, "mode": "production"}, "prev": "0" * 64, "seq": 0}, separators=(",", ":")).encode()
    (made / "audit/00000000000000000000.jsonl").write_bytes(line + b"\n")
    slot = b"KMSDANCH" + struct.pack(">II", 1, 0) + b"\x5a" * 16 + struct.pack(">QQ", 1, 0) + hashlib.sha256(line).digest()
    (made / "anchor").mkdir()
    (made / "anchor/anchor").write_bytes((slot + hashlib.sha256(slot).digest()).ljust(4096, b"\0") * 2)
    return made


def test_check_finds_nothing(sound):
    done = kmsd("check", "--dir", sound)
    assert done.returncode == 0 and "0 problems" in done.stdout, done.stdout
    assert kmsd("check", "--settings", "kmsd.yaml", cwd=sound).returncode == 0
    assert kmsd("check", "--dir", ".", cwd=sound).returncode == 0


@pytest.mark.parametrize("spoil, words", [
    (lambda d: (d / "pin-keys").chmod(0o640), ["chmod 0600", "pin-keys"]),
    (lambda d: (d / "pin-checkpoint").unlink(), ["pin-checkpoint", "No such file"]),
    (lambda d: (d / "tls/server.key").chmod(0o644), ["chmod 0600", "server.key"]),
    (lambda d: (d / "tls/server.pem").write_text("nothing"), ["server.pem"]),
    (lambda d: (d / "tls/ca.pem").unlink(), ["ca.pem"]),
    (lambda d: (d / "module.so").unlink(), ["module.so", "install it"]),
    (lambda d: (d / "audit/00000000000000000000.jsonl").unlink(), ["00000000000000000000.jsonl"]),
    (lambda d: (d / "anchor/anchor").unlink(), ["anchor/anchor", "missing", "kmsd anchor --accept"]),
    (lambda d: (d / "kmsd.yaml").write_text(SETTINGS + "debug: true\n"), ["kmsd.yaml:10:1", "debug"]),
])
def test_check_says_what_is_wrong(sound, spoil, words):
    spoil(sound)
    done = kmsd("check", "--dir", sound)
    assert done.returncode == 1
    wrong = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert any(all(word in line for word in words) for line in wrong), done.stdout
