"""Processes killed while 64 clients sign: what a client was told is in the log, the log is sound, versions never go back, the service returns.
KMS_KILLS (default 20) is how often each kind of process is killed. KMS_BACK (default 1): by how much slower than a plain build the service may be."""
import http.client
import itertools
import os
import random
import signal
import ssl
import time

import pytest

from kms import BIN, Connection, run, sha256
from load import Threads

KILLS = int(os.environ.get("KMS_KILLS", "20"))
CLIENTS = 64
SHARING = 8          # so many of them push the same channel
PAUSE, HOT_PAUSE = 0.4, 0.02   # of a client between two requests, and of every 16th; keeps the log of the whole test small enough to fold quickly
BACK_SECONDS = 5 * float(os.environ.get("KMS_BACK", "1"))
BURST = 5            # kills in a row: kmsd starts what dies with growing pauses, and forgets them for what lived REST seconds
REST = 10.3
KINDS = {"front-ci": ("kmsd-front", {"door": "ci"}), "front-admin": ("kmsd-front", {"door": "admin"}), "core": ("kmsd-core", {}),
         "lane-sign": ("kmsd-token", {"lane": "sign"}), "lane-admin": ("kmsd-token", {"lane": "admin"})}


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Load(Threads):
    """CLIENTS threads, each with a connection that it keeps; an unanswered request is repeated under its Idempotency-Key."""

    def __init__(self, kms):
        super().__init__(CLIENTS, self._client)
        self.kms = kms
        self.told = []           # (seq, hash, app, channel, version) of every 200
        self.wrong = []          # answers that must not happen
        self.repeated = 0
        self.shared = itertools.count(1)

    def _context(self):
        context = ssl.create_default_context(cafile=self.kms.ci_env["KMS_CACERT"])
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.kms.ci.cert, self.kms.ci.key)
        return context

    def _client(self, number):
        context, address = self._context(), self.kms.address("ci")
        channel = ("production", "beta")[number % 2]
        connection = None
        for turn in itertools.count():
            sharing = number < SHARING
            app, version = ("com.example.shared", f"1.{next(self.shared)}.0") if sharing else (f"com.example.load{number}", f"1.{turn}.0")
            body = self.kms.release(version, data=os.urandom(8), app=app, channel="beta" if sharing else channel)
            head = {"Idempotency-Key": f"load-{number}-{turn}-{random.getrandbits(64):x}"}
            while not self.stopped.is_set():
                try:
                    if not connection:
                        connection = Connection(address, context)
                        connection.http.sock.settimeout(10)
                    answer = connection.request("POST", "/v1/sign", body, head)
                except (OSError, http.client.HTTPException):
                    if connection:
                        connection.close()
                    connection = None
                    self.repeated += 1
                    self.stopped.wait(0.1)
                    continue
                if answer.status != 503:
                    self._judge(answer, sharing, body)
                    break
                self.repeated += 1
                self.stopped.wait(0.2)
            if self.stopped.wait((PAUSE if number % 16 else HOT_PAUSE) * random.uniform(0.5, 1.5)):
                break
        if connection:
            connection.close()

    def _judge(self, answer, sharing, body):
        if answer.status == 200:
            record = answer.json["record"]
            self.told.append((record["seq"], record["hash"], body["app"], body["channel"], body["version"]))
        elif not (sharing and answer.status == 409):
            self.wrong.append(answer)


class Probe:
    """Good requests on a connection of their own, one for each kind of process that may be missing."""

    def __init__(self, kms):
        self.kms = kms
        self.count = itertools.count(1)

    def __call__(self, kind):
        try:
            answer = self._ask(kind)
        except (OSError, http.client.HTTPException, AssertionError):
            return False
        assert answer.status in (200, 201, 500, 502, 503, 504), answer
        return answer.status in (200, 201)

    def _ask(self, kind):
        number = next(self.count)
        if kind == "front-admin":
            return self.kms.request("admin", "GET", "/v1/whoami")
        if kind == "lane-admin":
            return self.kms.signed("POST", "/v1/keys", {"name": f"probe{number}", "algorithm": "p256", "scheme": "statement"})
        return self.kms.sign(f"1.{number}.0", app="com.example.probe")


def returns(kms, probe, kind, since):
    kms.wait(lambda: probe(kind), since + BACK_SECONDS - time.monotonic(), f"a good request after the end of {kind}")


def check(kms, load):
    """After the daemon stopped: everything that was told is there, and nothing contradicts it."""
    lines = kms.lines()
    kms.check_chain()
    assert not load.wrong, load.wrong[:3]
    assert len(load.told) > CLIENTS
    records = kms.records()
    for seq, digest, app, channel, version in load.told:
        assert seq < len(lines) and sha256(lines[seq]) == digest, f"record {seq} is not what a client was told"
        artifact = records[seq]["artifact"]
        assert (artifact["app"], artifact["channel"], artifact["version"]) == (app, channel, version) and records[seq]["outcome"] == "ok"
    assert len({seq for seq, *_ in load.told}) == len(load.told)
    newest = {}
    for record in records:
        if (record["event"], record["outcome"]) == ("sign.release", "ok"):
            artifact = record["artifact"]
            place, version = (artifact["app"], artifact["channel"]), tuple(map(int, artifact["version"].split(".")))
            assert version > newest.get(place, (0,)), f"record {record['seq']}: {version} after {newest[place]}"
            newest[place] = version
    heads = [load.told[-1], max(load.told), *random.sample(load.told, 20)]
    options = [word for seq, digest, *_ in heads for word in ("--head", f"{seq}:{digest}")]
    run(BIN / "kms-audit", "verify", kms.dir, *options, timeout=120)


@pytest.fixture
def probe(own_kms):
    own_kms.wait(lambda: own_kms.sign("0.1.0", app="com.example.probe").status == 200, 5, "the first signature")
    return Probe(own_kms)


def kill_burst(kms, probe, kind, count):
    program, options = KINDS[kind]
    for _ in range(count):
        pid = kms.wait(lambda: one(kms, program, options), BACK_SECONDS, f"a running {kind}")
        time.sleep(random.uniform(0, 0.05))
        since = time.monotonic()
        kms.kill(pid)
        returns(kms, probe, kind, since)
        kms.wait(lambda: not alive(pid), 2, "its end")


def one(kms, program, options):
    try:
        return kms.child(program, **options)
    except AssertionError:
        return 0


def bursts():
    return [min(BURST, KILLS - done) for done in range(0, KILLS, BURST)]


def test_children_killed_under_load(own_kms, probe):
    """Each kind KILLS times, in bursts; the daemon brings it back by itself every time."""
    kms, killed, main = own_kms, {}, own_kms.pid

    def rested(kind, count):
        time.sleep(max(0.0, killed.get(kind, 0) + REST - time.monotonic()))
        kill_burst(kms, probe, kind, count)
        killed[kind] = time.monotonic()

    with Load(kms) as load:
        for count in bursts():
            for kind in KINDS:
                if kind != "core":
                    rested(kind, count)
        for count in bursts():
            rested("core", count)
        time.sleep(1)
        assert kms.pid == main and alive(main) and len(kms.children()) == kms.n_children
    kms.stop()
    check(kms, load)
    roles = [record["detail"]["role"] for record in kms.records(event="daemon.child")]
    print(f"{len(load.told)} signatures, {load.repeated} repetitions, children lost: {({role: roles.count(role) for role in set(roles)})}")
    for kind in KINDS:
        assert kind == "core" or roles.count(kind) >= KILLS, roles
    assert len(kms.records(event="daemon.start")) >= 1 + KILLS


def test_the_daemon_killed_under_load(own_kms, probe):
    """kill -9 of kmsd: no child survives it, and the next start succeeds, at once or a moment later."""
    kms = own_kms
    with Load(kms) as load:
        for number in range(KILLS):
            main, children = kms.pid, list(kms.children())
            assert len(children) == kms.n_children
            since = time.monotonic()
            kms.kill(main, signal.SIGKILL)
            if number % 2:
                kms.start()
            kms.wait(lambda: not any(map(alive, [main, *children])), since + 2 - time.monotonic(), "the end of all children")
            if not number % 2:
                kms.start()
            returns(kms, probe, "core", time.monotonic())
            time.sleep(random.uniform(0, 0.8))
    kms.stop()
    check(kms, load)
    print(f"{len(load.told)} signatures, {load.repeated} repetitions")
    assert len(kms.records(event="daemon.start")) == 1 + KILLS
