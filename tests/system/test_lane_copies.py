"""A signing lane with session copies of its keys, and a token where the key itself is gone or may not sign: no copy goes on in its place."""
import pytest

from lane import BUG, TOKEN, Lane, Verifier
from test_lane_together import Burst, message
from tokens import SOFTHSM_MORE, SoftHSM, build_modules

CKA_SIGN = 0x108
BURST = 8


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    build_modules()
    made = SoftHSM(tmp_path_factory.mktemp("copies"))
    made.more = SOFTHSM_MORE + "    session_copies: on\n"
    made.behind_shim()
    yield made
    made.close()


@pytest.fixture
def copied(token):
    """The lanes, a key that the signing lane has a copy of, and what destroys it."""
    token.shim.set()
    with token.lane("admin") as admin:
        key_id, spki, birth = admin.generate("copied")
        assert birth["copyable"]
        with token.lane("sign") as lane:
            lane.load(key_id, spki)
            before = token.shim.calls("C_CopyObject")
            answers = burst(lane, key_id)
            verifies = Verifier(spki)
            assert all(answer["type"] == "RESULT" and verifies(message(n), answer["OUTPUT"]) for n, answer in enumerate(answers))
            assert token.shim.calls("C_CopyObject") == before + 1
            yield lane, key_id, lambda: admin.ok("DESTROY", KEY_ID=key_id, ALGORITHM="p256", SCHEME="statement", SPKI=spki, LABEL="kmsd:release:copied:1")
            token.shim.set()


def burst(lane, key_id, count=BURST):
    """Signatures that are made one after the other, and judged and answered together. A lane that gives up answers fewer."""
    frames = Burst(lane)
    for n in range(count):
        frames.sign((key_id,), n)
    lane.ours.sendall(frames.bytes)
    answers = []
    while len(answers) < count and (answer := lane.read()):
        answers.append(answer)
    return answers


def refused(answers, lane_class):
    assert answers and [answer["type"] for answer in answers] == ["ERROR"] * len(answers)
    assert {Lane.lane_class(answer) for answer in answers} == {lane_class}
    return True


def test_the_key_went(copied):
    lane, key_id, destroy = copied
    destroy()
    assert refused(burst(lane, key_id), TOKEN)


@pytest.mark.parametrize("rule", ["C_SignInit nth:5 fail:0xB3", "C_Sign nth:5 fail:0x30"])
def test_the_key_went_and_then_the_session(token, copied, rule):
    """What was made with the copy is not answered because there is no copy any more when it is judged."""
    lane, key_id, destroy = copied
    destroy()
    token.shim.set(rule)
    assert refused(burst(lane, key_id), TOKEN)


def test_the_key_may_not_sign_any_more(token, copied):
    """A key that can be copied can be changed: its copy has the right to sign that the key itself has lost."""
    lane, key_id, _ = copied
    token.shim.set(f"C_GetAttributeValue always set:{CKA_SIGN}:0")
    assert refused(burst(lane, key_id), BUG)
