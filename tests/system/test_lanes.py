"""Token lanes under fault while 16 clients sign: the token's directory away, lanes killed, lanes stopped. Refusals are 503 with Retry-After, and signing
returns by itself. KMS_ROUNDS (default 4) is how often each fault happens; KMS_BACK (default 1.0) how many seconds signing may take to return."""
import http.client
import itertools
import os
import signal
import statistics
import threading
import time

import pytest

from kms import BIN, run, sha256

ROUNDS = int(os.environ.get("KMS_ROUNDS", "4"))
BACK_SECONDS = float(os.environ.get("KMS_BACK", "1.0"))
AWAY_SECONDS = float(os.environ.get("KMS_AWAY", "2.0"))
CLIENTS, PAUSE = 16, 0.05


class Signers:
    """CLIENTS threads that sign release after release, each on a connection and an app of its own."""

    def __init__(self, kms):
        self.kms, self.lock, self.stopped = kms, threading.Lock(), threading.Event()
        self.answers = []        # (asked, answered, status, slug, Retry-After)
        self.told = {}           # seq -> hash of every 200
        self.threads = [threading.Thread(target=self._sign, args=(number,), daemon=True) for number in range(CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self.threads)

    def _sign(self, number):
        connection = None
        for turn in itertools.count(1):
            body = self.kms.release(f"{turn}.0.0", data=os.urandom(8), app=f"com.example.signer{number}")
            if self.stopped.wait(PAUSE):
                return
            asked = time.monotonic()
            try:
                connection = connection or self.kms.connect("ci")
                answer = connection.request("POST", "/v1/sign", body)
            except (OSError, http.client.HTTPException):
                connection = None
                continue
            with self.lock:
                self.answers.append((asked, time.monotonic(), answer.status, answer.slug, answer.headers.get("retry-after")))
                if answer.status == 200:
                    self.told[answer.json["record"]["seq"]] = answer.json["record"]["hash"]

    def since(self, when):
        with self.lock:
            return [answer for answer in self.answers if answer[0] >= when]

    def first(self, status, when, seconds=10):
        """When the first request that began after `when` was answered with that status."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = [answered for _, answered, got, _, _ in self.since(when) if got == status]
            if found:
                return min(found)
            time.sleep(0.01)
        raise AssertionError(f"no {status} within {seconds} s; {self.since(when)[-5:]}")


@pytest.fixture
def load(own_kms):
    with Signers(own_kms) as signers:
        signers.first(200, time.monotonic())
        yield own_kms, signers
    check(own_kms, signers)


def check(kms, signers):
    """Nothing told is missing, nothing unexplained was answered, no PIN was tried in vain."""
    bad = [answer for answer in signers.answers if answer[2] != 200 and (answer[2:4] != (503, "token-unavailable") or answer[4] != "1")]
    assert not bad, bad[:5]
    kms.check_chain()
    lines = kms.lines()
    assert all(sha256(lines[seq]) == hash for seq, hash in signers.told.items())
    run(BIN / "kms-audit", "verify", kms.dir)
    assert not (kms.dir / "tokens/sealed").exists()
    assert "C_Login" not in (kms.dir / "kmsd.log").read_text()


def report(capsys, what, back):
    with capsys.disabled():
        print(f"\n{what}: {len(back)} times, signing again after {statistics.median(back):.3f} s (median), {max(back):.3f} s (worst)")


def settled(kms):
    """Every lane works."""
    return all(lane["state"] == "ready" for lane in kms.request("admin", "GET", "/v1/status").json["lanes"])


def test_token_directory_away(load, capsys):
    kms, signers = load
    store, away, back = kms.dir / "tokens/keys/store", kms.dir / "tokens/keys/away", []
    core, started = kms.child("kmsd-core"), len(kms.records(event="daemon.start"))
    for _ in range(ROUNDS):
        gone = time.monotonic()
        store.rename(away)
        time.sleep(AWAY_SECONDS)
        meanwhile = signers.since(gone + AWAY_SECONDS / 2)
        assert meanwhile and all(answer[2:5] == (503, "token-unavailable", "1") for answer in meanwhile), meanwhile[:3]
        away.rename(store)
        returned = time.monotonic()
        back.append(signers.first(200, returned) - returned)
    report(capsys, "token directory away", back)
    assert max(back) <= BACK_SECONDS
    assert kms.child("kmsd-core") == core and len(kms.records(event="daemon.start")) == started
    kms.wait(lambda: settled(kms), 5, "all lanes at work")


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSTOP], ids=["SIGKILL", "SIGSTOP"])
@pytest.mark.parametrize("which", ["one", "all"])
def test_lanes_that_end_or_hang(load, capsys, sig, which):
    """One lane: the others go on and its work moves over. All at once: signing returns with the new ones."""
    kms, signers = load
    back = []
    for _ in range(ROUNDS):
        pids = kms.lanes()
        for pid in pids if which == "all" else pids[:1]:
            kms.kill(pid, sig)
        hit = time.monotonic()
        back.append(signers.first(200, hit) - hit)
        kms.wait(lambda: not set(pids[:1]) & set(kms.lanes()), 10, "the end of the lane")
        kms.wait(lambda: settled(kms), 10, "all lanes at work")
    report(capsys, f"{sig.name} of {which} lane{'s' if which == 'all' else ''}", back)
    # A lane that hangs is noticed after a second of silence.
    assert max(back) <= BACK_SECONDS + (1.5 if sig == signal.SIGSTOP else 0)


def test_idle_kmsd_notices_that_the_token_is_away(own_kms):
    """Without any request: the lanes look for themselves."""
    kms, store, away = own_kms, own_kms.dir / "tokens/keys/store", own_kms.dir / "tokens/keys/away"
    store.rename(away)
    kms.wait(lambda: all(lane["state"] == "away" for lane in kms.request("admin", "GET", "/v1/status").json["lanes"]), 5, "lanes that know")
    asked = time.monotonic()
    answer = kms.sign("1.0.0")
    assert (answer.status, answer.slug) == (503, "token-unavailable") and answer.headers["retry-after"] == "1"
    assert time.monotonic() - asked < 0.5, "nobody waits for a token that is known to be away"
    away.rename(store)
    kms.wait(lambda: settled(kms), 5, "all lanes at work")
    assert kms.sign("1.0.0").status == 200
    assert "not-ready" in (kms.dir / "kmsd.log").read_text()
