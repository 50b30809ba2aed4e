"""Signatures that a signing lane begins while it has nothing to do: how many, what ends them, and that none of them leaves once the key is gone."""
import time

import pytest

from lane import BUG, TOKEN, VERIFY, Verifier
from test_lane_copies import BURST, burst, refused
from test_lane_together import message
from tokens import SOFTHSM_FILES, SOFTHSM_MORE, SoftHSM, build_modules

CKA_SIGN = 0x108
PLACES = 64  # tokens.keys.sign_ahead


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    build_modules()
    made = SoftHSM(tmp_path_factory.mktemp("ahead"))
    made.more = SOFTHSM_FILES
    made.behind_shim()
    yield made
    made.close()


class Key:
    """A release key on the token, and how it is destroyed."""
    def __init__(self, admin):
        self.id, self.spki, _ = admin.generate("ahead")
        self.destroy = lambda: admin.ok("DESTROY", KEY_ID=self.id, ALGORITHM="p256", SCHEME="statement", SPKI=self.spki, LABEL="kmsd:release:ahead:1")


@pytest.fixture
def key(token):
    token.shim.set()
    with token.lane("admin") as admin:
        yield Key(admin)
    token.shim.set()


def settled(token):
    """When the lane begins no more: how often signatures were begun, and ended."""
    before = -1
    while (now := token.shim.calls("C_SignInit")) != before:
        before = now
        time.sleep(0.2)
    return now, token.shim.calls("C_Sign")


def signs(lane, key, count=BURST):
    verifies = Verifier(key.spki)
    answers = burst(lane, key.id, count)
    assert len(answers) == count and all(a["type"] == "RESULT" and verifies(message(n), a["OUTPUT"]) for n, a in enumerate(answers)), answers


def begun(token, lane, key):
    """Has some signatures begun ahead: as many as were made. How many C_SignInit were called until then."""
    lane.load(key.id, key.spki)
    signs(lane, key)
    return settled(token)[0]


def test_as_many_as_were_made(token, key):
    with token.lane("sign") as lane:
        inits, signatures = settled(token)
        sessions = token.shim.calls("C_OpenSession")
        begun(token, lane, key)
        for n in range(1, 4):
            assert settled(token) == (inits + (n + 1) * BURST, signatures + n * BURST)
            signs(lane, key)
        assert token.shim.calls("C_OpenSession") == sessions + BURST


@pytest.mark.parametrize("verb", ["LOAD", "UNLOAD", "PROBE"])
def test_ended_by_anything_but_a_signature(token, key, verb):
    with token.lane("sign") as lane:
        inits = begun(token, lane, key)
        closed = token.shim.calls("C_CloseSession")
        if verb == "LOAD":
            lane.load(key.id, key.spki)
        else:
            lane.ok(verb, **({"KEY_ID": key.id} if verb == "UNLOAD" else {}))
        assert token.shim.calls("C_CloseSession") == closed + BURST
        assert settled(token)[0] == inits + (verb == "PROBE")


def test_the_key_went(token, key):
    with token.lane("sign") as lane:
        begun(token, lane, key)
        key.destroy()
        assert refused(burst(lane, key.id), TOKEN)


def test_the_key_may_not_sign_any_more(token, key):
    with token.lane("sign") as lane:
        begun(token, lane, key)
        token.shim.set(f"C_GetAttributeValue always set:{CKA_SIGN}:0")
        assert refused(burst(lane, key.id), BUG)


@pytest.mark.parametrize("rule", ["C_Sign always flip", "C_Sign always len:63", "C_SignInit always swap"])
def test_a_wrong_one_does_not_leave(token, key, rule):
    with token.lane("sign") as lane:
        lane.load(key.id, key.spki)
        token.shim.set(rule)
        for _ in range(3):
            assert refused(burst(lane, key.id), VERIFY)
            settled(token)
        token.shim.set()
        lane.load(key.id, key.spki)
        signs(lane, key)


@pytest.mark.parametrize("rule", ["C_Sign first:1 fail:0x30", "C_Sign first:1 fail:0xB3", "C_Sign first:1 logout", "C_SignInit nth:3 fail:0xB3", "C_SignInit first:1 logout"])
def test_what_cannot_be_ended_is_begun_anew(token, key, rule):
    with token.lane("sign") as lane:
        begun(token, lane, key)
        token.shim.set(rule)
        signs(lane, key)
        settled(token)
        signs(lane, key)
        assert token.shim.faults(rule.split()[0]) > 0
        token.shim.set()
        signs(lane, key)


def test_another_key_takes_their_places(token, key):
    """As many signatures as there are places for, and none was begun for them: those of before go."""
    with token.lane("admin") as admin, token.lane("sign") as lane:
        begun(token, lane, key)
        other = Key(admin)
        lane.load(other.id, other.spki)
        begun(token, lane, key)
        closed = token.shim.calls("C_CloseSession")
        signs(lane, other, PLACES + BURST)
        settled(token)
        assert token.shim.calls("C_CloseSession") - closed == BURST
        inits, _ = settled(token)
        signs(lane, other)
        assert settled(token)[0] == inits + BURST
        signs(lane, key)


@pytest.mark.parametrize("rv, for_good", [(0xB1, True), (0x05, False)])
def test_a_session_is_refused(token, key, rv, for_good):
    """A token with no session to spare is not asked for one again."""
    with token.lane("sign") as lane:
        lane.load(key.id, key.spki)
        token.shim.set(f"C_OpenSession nth:3 fail:{rv}")
        signs(lane, key)
        inits, _ = settled(token)
        signs(lane, key)
        assert settled(token)[0] == inits + BURST * (1 if for_good else 2)
        assert f"event=sign-ahead call=C_OpenSession rv={rv:#x}" in lane.err_text()


def test_what_is_not_used_goes(token, key):
    with token.lane("admin") as admin, token.lane("sign") as lane:
        other = Key(admin)
        lane.load(other.id, other.spki)
        begun(token, lane, key)
        closed = token.shim.calls("C_CloseSession")
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            signs(lane, other, 1)
            time.sleep(0.1)
        assert token.shim.calls("C_CloseSession") == closed + BURST


@pytest.mark.parametrize("more", [SOFTHSM_MORE, SOFTHSM_FILES + "    session_copies: on\n"], ids=["settings", "copies"])
def test_none(token, more):
    """Where the settings say so; and with a key that the session has a copy of."""
    token.shim.set()
    token.more = more
    token.write()
    try:
        with token.lane("admin") as admin, token.lane("sign") as lane:
            key = Key(admin)
            inits = settled(token)[0]
            assert begun(token, lane, key) == inits + BURST
    finally:
        token.more = SOFTHSM_FILES
        token.write()
