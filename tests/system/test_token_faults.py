"""The whole service over a token whose calls fail, lie and hang on order, while clients sign: whoever is told 200 holds a good signature, whoever is
not is told 5xx in the stable words, and signing returns by itself when the token does."""
import os
import time

import pytest

from kms import BIN, Instance, b64, pae, run, sha256
from lane import Verifier
from load import Signers
from tokens import SOFTHSM, Shim, build_modules

CLIENTS, PAUSE = 4, 0.04
DWELL = 0.3              # how long a fault that does not end by itself lasts
SLOWER = float(os.environ.get("KMS_BACK", "1"))  # than a plain build
BACK_SECONDS = 5 * SLOWER
ANSWER_SECONDS = 5       # nobody waits longer, whatever the token does
LOST = (0x05, 0x06, 0x30, 0x31, 0x32, 0xE0, 0x190)
HEALED = (0x90, 0xB3, 0x82, 0x101)
BEGUN_AHEAD = 64  # by each lane, tokens.keys.sign_ahead
CALLS = ("C_SignInit", "C_Sign", "C_FindObjects")


class Load(Signers):
    """Every answer is judged."""

    def __init__(self, kms):
        super().__init__(kms, CLIENTS, PAUSE)
        self.judged = 0
        pem = kms.request("ci", "GET", f"/v1/keys/{kms.ci_env['KMS_SIGN_KEY']}/public").body
        self.good = Verifier(run("openssl", "pkey", "-pubin", "-outform", "DER", stdin=pem).stdout)
        assert not self.good(b"something else", b"0" * 70)

    def judge(self):
        """Every answer since the last call: good, or a failure that says so. The failures."""
        with self.lock:
            fresh, self.judged = self.answers[self.judged:], len(self.answers)
        failures = []
        for asked, answered, answer in fresh:
            assert answered - asked < ANSWER_SECONDS, (answered - asked, answer)
            if answer.status == 200:
                envelope = answer.json["envelope"]
                message = pae(b64(envelope["payload"]), envelope["payloadType"])
                assert self.good(message, b64(envelope["signatures"][0]["sig"])), "a wrong signature was released"
                assert not self.good(message + b" ", b64(envelope["signatures"][0]["sig"]))
            else:
                failures.append(answer)
                assert (answer.status, answer.slug) in ((503, "token-unavailable"), (500, "internal")), answer
                assert answer.status != 503 or int(answer.headers["retry-after"]) >= 1, answer
                assert "envelope" not in answer.json and "CKR" not in answer.body.decode() and "0x" not in answer.body.decode()
        assert not self.broken, self.broken[:3]
        return failures


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    build_modules()
    directory = tmp_path_factory.mktemp("faults")
    shim = Shim(directory, SOFTHSM)
    with Instance(directory / "dir", "--module", shim.module) as kms:
        core, pid = kms.child("kmsd-core"), kms.pid
        with Load(kms) as load:
            load.first(200, time.monotonic())
            yield kms, shim, load
        shim.set()
        load.judge()
        assert kms.pid == pid and kms.child("kmsd-core") == core and len(kms.records(event="daemon.start")) == 1
        kms.check_chain()
        lines = kms.lines()
        assert all(sha256(lines[record["seq"]]) == record["hash"] for record in load.told())
        run(BIN / "kms-audit", "verify", kms.dir)
        assert not (kms.dir / "tokens/sealed").exists(), "no fault here is a refused PIN"


@pytest.fixture
def faulty(running):
    """Everything works before and after: how long the return took is in `back`."""
    kms, shim, load = running
    shim.set()
    kms.wait(lambda: kms.lanes_are("ready"), 35, "all lanes at work")
    load.first(200, time.monotonic())
    load.judge()
    yield kms, shim, load
    shim.set()
    removed = time.monotonic()
    load.first(200, removed)
    load.judge()


def lanes(kms):
    """Signing and administrative: any of them may be the one that meets a fault, for all of them show that they can sign."""
    return {pid for pid, argv in kms.children().items() if argv[0].endswith("kmsd-token")}


def fault(shim, *rules):
    before = sum(shim.faults(call) for call in CALLS)
    shim.set(*rules)
    end = time.monotonic() + 5
    while sum(shim.faults(call) for call in CALLS) == before:
        assert time.monotonic() < end, f"nobody met {rules}"
        time.sleep(0.005)


@pytest.mark.parametrize("call", ["C_SignInit", "C_Sign"])
@pytest.mark.parametrize("rv", LOST + HEALED, ids=hex)
def test_one_call_fails(faulty, call, rv):
    """Nobody hears of one failure: the lane heals, or another one takes the work."""
    kms, shim, load = faulty
    when = time.monotonic()
    fault(shim, f"{call} first:1 fail:{rv}")
    load.first(200, time.monotonic())
    assert not load.judge()
    assert len(load.since(when)) > 0


@pytest.mark.parametrize("rv", LOST + HEALED, ids=hex)
def test_every_call_fails(faulty, rv):
    """Until the rule goes everybody is told 503; then signing works again, with the same kmsd."""
    kms, shim, load = faulty
    fault(shim, *(f"{call} always fail:{rv}" for call in CALLS))
    begin = time.monotonic()
    load.first(503, begin)
    time.sleep(DWELL)
    assert not [answer for answer in load.since(begin) if answer.status == 200]
    failures = load.judge()
    assert failures and all(answer.slug == "token-unavailable" for answer in failures)


@pytest.mark.parametrize("rv", LOST + HEALED, ids=hex)
def test_calls_fail_at_random(faulty, rv):
    kms, shim, load = faulty
    fault(shim, *(f"{call} random:100:{rv + n} fail:{rv}" for n, call in enumerate(CALLS)))
    time.sleep(DWELL)
    load.judge()


@pytest.mark.parametrize("rule", ["C_Sign every:2 flip", "C_Sign always flip", "C_SignInit every:2 swap", "C_SignInit always swap", "C_Sign always len:60"])
def test_wrong_signature_reaches_nobody(faulty, rule):
    kms, shim, load = faulty
    begin = time.monotonic()
    fault(shim, rule)
    set_at = time.monotonic()
    time.sleep(DWELL)
    if "always" in rule:
        good = [answer for answer in load.since(set_at) if answer.status == 200]
        assert len(good) <= (BEGUN_AHEAD * len(kms.lanes()) if "C_SignInit" in rule else 0)  # with the right key, before the rule
        load.first(500 if any(answer.status == 500 for answer in load.since(begin)) else 503, begin)
    load.judge()


def test_one_signature_hangs(faulty):
    """The silent lane is ended and replaced; its request goes to another one."""
    kms, shim, load = faulty
    before = lanes(kms)
    fault(shim, "C_Sign first:1 hang")
    kms.wait(lambda: not before <= lanes(kms), 5, "the end of the lane that hangs")
    load.first(200, time.monotonic())
    assert not load.judge()
    kms.wait(lambda: kms.lanes_are("ready") and len(lanes(kms)) == len(before), 10, "a new lane")


def test_a_lane_that_cannot_end(faulty):
    """The token is gone, and the module hangs as the lane takes leave of it: what else that lane had in hand goes to another one."""
    kms, shim, load = faulty
    before = lanes(kms)
    fault(shim, "C_SignInit first:3 fail:0x32", "C_Finalize always hang")  # each lane may lose one that nobody asked for yet
    kms.wait(lambda: not before <= lanes(kms), 5 * SLOWER, "the end of the lane that hangs")
    load.first(200, time.monotonic())
    assert not load.judge()
    kms.wait(lambda: kms.lanes_are("ready") and len(lanes(kms)) == len(before), 10 * SLOWER, "a new lane")


def test_every_signature_hangs(faulty):
    kms, shim, load = faulty
    fault(shim, "C_Sign always hang")
    begin = time.monotonic()
    load.first(503, begin)
    failures = load.judge()
    assert failures and all(answer.slug == "token-unavailable" for answer in failures)


def test_slow_token_is_no_dead_one(faulty):
    kms, shim, load = faulty
    before = set(kms.lanes())
    fault(shim, "C_Sign always delay:150")
    time.sleep(2 * DWELL)
    assert not load.judge()
    assert set(kms.lanes()) == before


def test_module_that_crashes(faulty):
    kms, shim, load = faulty
    before = lanes(kms)
    fault(shim, "C_Sign first:1 crash")
    kms.wait(lambda: not before <= lanes(kms), 5, "the end of the lane")
    load.first(200, time.monotonic())
    assert not load.judge()


def create(kms, name):
    return kms.signed("POST", "/v1/keys", {"name": name, "algorithm": "p256", "scheme": "statement"})


@pytest.mark.parametrize("rule", ["C_GenerateKeyPair first:1 fail:0x30", "C_GenerateKeyPair first:1 late:0x30", "C_GenerateKeyPair first:1 fail:0xB3",
                                  "C_GetAttributeValue first:1 set:0x162:1", "C_GenerateKeyPair first:1 crash"])
def test_key_that_could_not_be_made(faulty, rule):
    """No key is told of that is not there; the next one is made."""
    kms, shim, load = faulty
    name = "fault" + sha256(rule.encode())[:8]
    shim.set(rule)
    answer = create(kms, name)
    shim.set()
    if answer.status != 201:
        assert (answer.status, answer.slug) in ((503, "token-unavailable"), (500, "internal")), answer
    kms.wait(lambda: create(kms, name + "b").status == 201, 10, "a key after the fault")
    assert not load.judge(), "signing goes on meanwhile"
