"""A signing lane that gets many frames at once: it signs all, verifies them together, answers each."""
import functools
import random
import time

import pytest

from lane import EXIT_TOKEN, KEY, TOKEN, VERIFY, Lane, Verifier, frame, pae
from tokens import SoftHSM, build_modules

SLOW_MS = 60
TABLE_AFTER = 512  # verifications, kmsd/token/lane.h


def message(number):
    return pae(b'{"n":%d}' % number)


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    build_modules()
    made = SoftHSM(tmp_path_factory.mktemp("together"))
    made.behind_shim()
    yield made
    made.close()


@pytest.fixture(scope="module")
def keys(token):
    """(key id, SPKI, algorithm): two of P-256, whose signatures are verified together, and one of another kind."""
    with token.lane("admin") as lane:
        return [(*lane.generate(f"together-{n}", 1, algorithm)[:2], algorithm) for n, algorithm in enumerate(("p256", "p256", "p384"))]


@pytest.fixture
def lane(token, keys):
    token.shim.set()
    with token.lane("sign") as made:
        for key_id, spki, algorithm in keys:
            made.load(key_id, spki, algorithm)
        yield made
        token.shim.set()


class Burst:
    """Frames that leave in one write, and what came back."""

    def __init__(self, lane):
        self.lane, self.bytes, self.ids = lane, b"", []

    def add(self, kind, **fields):
        self.lane.next_id += 1
        self.ids.append(self.lane.next_id)
        self.bytes += frame(kind, self.lane.next_id, fields)

    def sign(self, key, number):
        self.add("SIGN", KEY_ID=key[0], SCHEME="statement", INPUT=message(number))

    def run(self):
        """Answers in the order of the frames: none is missing, none comes twice or before its turn."""
        self.lane.ours.sendall(self.bytes)
        answers = []
        for number in self.ids:
            answers.append(self.lane.read())
            assert answers[-1] and answers[-1]["id"] == number, (answers[-1], self.lane.err_text())
        return answers


verifier = functools.cache(Verifier)


def good(key, number, answer):
    return answer["type"] == "RESULT" and verifier(key[1])(message(number), answer["OUTPUT"])


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 300])
def test_each_gets_its_own(lane, keys, count):
    burst = Burst(lane)
    for n in range(count):
        burst.sign(keys[n % 2], n)
    for n, answer in enumerate(burst.run()):
        assert good(keys[n % 2], n, answer) and not verifier(keys[1 - n % 2][1])(message(n), answer["OUTPUT"])
        assert not verifier(keys[n % 2][1])(message(n + 1), answer["OUTPUT"])


@pytest.mark.parametrize("rule", ["C_Sign {} flip", "C_SignInit {} swap", "C_Sign {} len:63", "C_Sign {} len:0"])
@pytest.mark.parametrize("when", ["every:7", "random:300:5", "always"])
def test_a_wrong_one_does_not_spoil_its_neighbours(token, lane, keys, rule, when):
    function, before = rule.split()[0], token.shim.faults(rule.split()[0])
    token.shim.set(rule.format(when))
    burst = Burst(lane)
    for n in range(200):
        burst.sign(keys[n % 2], n)
    answers = burst.run()
    bad = [n for n, answer in enumerate(answers) if not good(keys[n % 2], n, answer)]
    assert len(bad) == token.shim.faults(function) - before >= 28
    assert when != "every:7" or bad == list(range(bad[0], 200, 7))
    for n in bad:
        assert answers[n]["type"] == "ERROR" and Lane.lane_class(answers[n]) == VERIFY and "OUTPUT" not in answers[n]


def test_with_tables_too(token, lane, keys):
    """After so many that both keys have a table, of one bit in each signature at another place none gets out."""
    for turn in range(6):
        token.shim.set(*["C_Sign every:2 flip"] * (turn % 2))
        before = token.shim.faults("C_Sign")
        burst = Burst(lane)
        for n in range(TABLE_AFTER // 2):
            burst.sign(keys[n % 2], n)
        answers = burst.run()
        right = sum(good(keys[n % 2], n, answer) for n, answer in enumerate(answers))
        assert right == len(answers) - (token.shim.faults("C_Sign") - before) == len(answers) // (1 + turn % 2)
    assert "text=\"the quick check" not in lane.err_text()


def test_other_verbs_between(lane, keys):
    """What waits is answered before keys come and go; a key that went signs no more."""
    p256, second, p384 = keys
    burst, want, dice = Burst(lane), [], random.Random(7)
    loaded = True
    for n in range(150):
        what = dice.choice(("sign", "sign", "sign", "other", "unload", "load", "probe", "unknown"))
        if what == "sign":
            burst.sign(p256, n)
            want.append(("p256", n) if loaded else ("refused", KEY))
        elif what == "other":
            burst.sign(p384, n)
            want.append(("any", None))
        elif what == "unload":
            burst.add("UNLOAD", KEY_ID=p256[0])
            want.append(("any", None))
            loaded = False
        elif what == "load":
            burst.add("LOAD", KEY_ID=p256[0], SPKI=p256[1], ALGORITHM="p256", SCHEME="statement")
            want.append(("any", None))
            loaded = True
        elif what == "probe":
            burst.add("PROBE")
            want.append(("any", None))
        else:
            burst.sign((bytes(16),), n)
            want.append(("refused", KEY))
        if dice.random() < 0.3:
            burst.sign(second, n)
            want.append(("second", n))
    for (what, value), answer in zip(want, burst.run()):
        if what == "refused":
            assert answer["type"] == "ERROR" and Lane.lane_class(answer) == value
        elif what == "any":
            assert answer["type"] == "RESULT"
        else:
            assert good(p256 if what == "p256" else second, value, answer)


def test_what_was_signed_before_the_token_failed_is_answered(token, lane, keys):
    token.shim.set("C_Sign from:21 fail:0x30")
    burst = Burst(lane)
    for n in range(30):
        burst.sign(keys[0], n)
    lane.ours.sendall(burst.bytes)
    answers = [lane.read() for _ in range(21)]
    assert [answer["id"] for answer in answers] == burst.ids[:21]
    assert all(good(keys[0], n, answer) for n, answer in enumerate(answers[:20]))
    assert answers[20]["type"] == "ERROR" and Lane.lane_class(answers[20]) == TOKEN
    assert lane.ended() == EXIT_TOKEN


@pytest.mark.parametrize("which", [0, 2], ids=["p256", "p384"])
def test_slow_ones_do_not_wait_for_each_other(token, lane, keys, which):
    token.shim.set(f"C_Sign always delay:{SLOW_MS}")
    burst = Burst(lane)
    for n in range(8):
        burst.sign(keys[which], n)
    begin = time.monotonic()
    lane.ours.sendall(burst.bytes)
    times = []
    for _ in burst.ids:
        assert lane.read()["type"] == "RESULT"
        times.append(time.monotonic() - begin)
    assert times[0] < 4 * SLOW_MS / 1000 < 8 * SLOW_MS / 1000 <= times[-1], times
