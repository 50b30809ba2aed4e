"""Token lanes under fault while 16 clients sign: the token's directory away, lanes killed, lanes stopped. Refusals are 503 with Retry-After, and signing
returns by itself. KMS_ROUNDS (default 4) is how often each fault happens; KMS_BACK (default 1.0) how many seconds signing may take to return."""
import os
import signal
import statistics
import time
from pathlib import Path

import pytest

from kms import BIN, run, sha256
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


def ranks(kms):
    """{program and kind: [(niceness, processors)]} of all processes, lanes in the order of their numbers."""
    got = {}
    for pid, argv in sorted(kms.children().items(), key=lambda child: child[1][-1]):
        kind = next((argv[n + 1] for n, word in enumerate(argv) if word in ("--lane", "--door")), "")
        got.setdefault(f"{Path(argv[0]).name} {kind}".strip(), []).append((os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid)))
    return got


def test_lanes_stand_back(kms):
    """Whoever brings lanes their work goes first, and what nobody waits for goes last. Where every processor gets a signing lane, each lane has its
    own; of two, those who serve the lanes share the second, and searches the first."""
    own, may = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    got = ranks(kms)
    signing = got.pop("kmsd-token sign")
    bound = len(signing) >= len(may) > 1
    assert [niceness for niceness, _ in signing] == [max(own, 10)] * len(signing)
    assert [where for _, where in signing] == [{sorted(may)[n % len(may)]} if bound else may for n in range(len(signing))]
    first, second = ({cpu} for cpu in sorted(may)) if bound and len(may) == 2 else (may, may)
    assert got == {"kmsd-core": [(own, second)], "kmsd-front ci": [(own, second)], "kmsd-front admin": [(max(own, 10), first)], "kmsd-reader": [(19, first)],
                   "kmsd-front health": [(own, may)], "kmsd-token admin": [(max(own, 15), may)]}


def test_the_service_stays_where_it_was_put(own_kms):
    """Started on one processor only, as with taskset, no process of it runs on another."""
    kms, may = own_kms, os.sched_getaffinity(0)
    kms.stop()
    os.sched_setaffinity(0, {min(may)})
    try:
        kms.start()
        assert all(where == {min(may)} for all_of in ranks(kms).values() for _, where in all_of), ranks(kms)
    finally:
        os.sched_setaffinity(0, may)
    assert kms.sign("1.0.0").status == 200


def test_the_reader_gives_way_to_every_session(kms):
    """Where the kernel shares processors out by session, the reader's own is the last."""
    (reader,) = (pid for pid, argv in kms.children().items() if argv[0].endswith("kmsd-reader"))
    assert os.sched_getscheduler(reader) == os.SCHED_IDLE and os.getsid(reader) == reader
    group = Path(f"/proc/{reader}/autogroup")
    if group.exists():
        assert group.read_text().endswith(" nice 19\n")
