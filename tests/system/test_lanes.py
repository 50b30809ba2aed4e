"""Token lanes under fault while 16 clients sign: the token's directory away, lanes killed, lanes stopped. Refusals are 503 with Retry-After, and signing
returns by itself. KMS_ROUNDS (default 4) is how often each fault happens; KMS_BACK (default 1.0) how many seconds signing may take to return."""
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kms import BIN, BUILD, run, sha256
from load import Signers

ROUNDS = int(os.environ.get("KMS_ROUNDS", "4"))
BACK_SECONDS = float(os.environ.get("KMS_BACK", "1.0"))
AWAY_SECONDS = float(os.environ.get("KMS_AWAY", "2.0"))
CLIENTS, PAUSE = 16, 0.05


@pytest.fixture
def load(own_kms):
    with Signers(own_kms, CLIENTS, PAUSE) as signers:
        signers.first(200, time.monotonic())
        yield own_kms, signers
    check(own_kms, signers)


def away(answer):
    return (answer.status, answer.slug, answer.headers.get("retry-after")) == (503, "token-unavailable", "1")


def check(kms, signers):
    """Nothing told is missing, nothing unexplained was answered, no PIN was tried in vain."""
    bad = [answer for answer in signers.since(0) if answer.status != 200 and not away(answer)]
    assert not bad, bad[:5]
    kms.check_chain()
    lines = kms.lines()
    assert all(sha256(lines[record["seq"]]) == record["hash"] for record in signers.told())
    run(BIN / "kms-audit", "verify", kms.dir)
    assert not (kms.dir / "tokens/sealed").exists()
    assert "C_Login" not in (kms.dir / "kmsd.log").read_text()


def report(capsys, what, back):
    with capsys.disabled():
        print(f"\n{what}: {len(back)} times, signing again after {statistics.median(back):.3f} s (median), {max(back):.3f} s (worst)")


def test_token_directory_away(load, capsys):
    kms, signers = load
    store, elsewhere, back = kms.dir / "tokens/keys/store", kms.dir / "tokens/keys/away", []
    core, started = kms.child("kmsd-core"), len(kms.records(event="daemon.start"))
    for _ in range(ROUNDS):
        gone = time.monotonic()
        store.rename(elsewhere)
        time.sleep(AWAY_SECONDS)
        meanwhile = signers.since(gone + AWAY_SECONDS / 2)
        assert meanwhile and all(map(away, meanwhile)), meanwhile[:3]
        elsewhere.rename(store)
        returned = time.monotonic()
        back.append(signers.first(200, returned) - returned)
    report(capsys, "token directory away", back)
    assert max(back) <= BACK_SECONDS
    assert kms.child("kmsd-core") == core and len(kms.records(event="daemon.start")) == started
    kms.wait(lambda: kms.lanes_are("ready"), 5, "all lanes at work")


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
        kms.wait(lambda: kms.lanes_are("ready"), 10, "all lanes at work")
    report(capsys, f"{sig.name} of {which} lane{'s' if which == 'all' else ''}", back)
    # A lane that hangs is noticed after a second of silence.
    assert max(back) <= BACK_SECONDS + (1.5 if sig == signal.SIGSTOP else 0)


def test_idle_kmsd_notices_that_the_token_is_away(own_kms):
    """Without any request: the lanes look for themselves."""
    kms, store, elsewhere = own_kms, own_kms.dir / "tokens/keys/store", own_kms.dir / "tokens/keys/away"
    store.rename(elsewhere)
    kms.wait(lambda: kms.lanes_are("away"), 5, "lanes that know")
    asked = time.monotonic()
    answer = kms.sign("1.0.0")
    assert (answer.status, answer.slug) == (503, "token-unavailable") and answer.headers["retry-after"] == "1"
    assert time.monotonic() - asked < 0.5, "nobody waits for a token that is known to be away"
    elsewhere.rename(store)
    kms.wait(lambda: kms.lanes_are("ready"), 5, "all lanes at work")
    assert kms.sign("1.0.0").status == 200
    assert "not-ready" in (kms.dir / "kmsd.log").read_text()


def test_lanes_stand_back(kms):
    """Whoever brings signing lanes their work goes first, before administrators and their searches; the others are as the service was started. None is
    bound to a processor."""
    own, may = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    for pid, argv in kms.children().items():
        low = 19 if argv[0].endswith("kmsd-reader") else 5 if ("--lane" in argv and "sign" in argv) or ("--door" in argv and "admin" in argv) else 0
        assert os.getpriority(os.PRIO_PROCESS, pid) == max(own, low), argv
        assert os.sched_getaffinity(pid) == may, argv


def test_busy_neighbours_end_no_lane(own_kms):
    """As many busy processes as processors take turns on them: signatures take longer, and no lane is taken for a hung one."""
    kms = own_kms
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        host, port = kms.address("ci")
        done = run(BUILD / "tests/bench/load", "--host", host, "--port", port, "--ca", kms.env["KMS_CACERT"], "--cert", kms.ci.cert, "--key", kms.ci.key,
                   "--connections", 8, "--app", "com.example.busy", "--measure-ms", 4000)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    got = json.loads(done.stdout.splitlines()[-1])
    assert got["errors"] == 0 and got["signatures"] > 0
    assert "asked for its end" not in (kms.dir / "kmsd.log").read_text()


def test_the_reader_gives_way_to_every_session(kms):
    """Where the kernel shares processors out by session, the reader's own is the last."""
    (reader,) = (pid for pid, argv in kms.children().items() if argv[0].endswith("kmsd-reader"))
    assert os.sched_getscheduler(reader) == os.SCHED_IDLE and os.getsid(reader) == reader
    group = Path(f"/proc/{reader}/autogroup")
    if group.exists():
        assert group.read_text().endswith(" nice 19\n")
