"""What every token lane promises, whatever token is behind it; then tokens that fail, lie, hang and lock."""
import json
import os
import random
import secrets
import time

import pytest

from lane import EXIT_PIN, EXIT_TOKEN, HUMAN, INPUT, KEY, STATEMENT, TOKEN, UNABLE, VERIFY, Lane, Verifier, frame, pae, verifies, wait_for
from tokens import CA_ID, KINDS, Fake, Missing, OpenCryptoki, SoftHSM, build_modules

HELLO_SECONDS = 10
LOAD = {"ALGORITHM": "p256", "SCHEME": "statement"}


@pytest.fixture(scope="module", autouse=True)
def modules():
    build_modules()


def make(kind, directory):
    try:
        return kind(directory)
    except Missing as missing:
        return pytest.skip(str(missing))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Each kind of token prepared once for all tests that leave it whole."""
    done = {}

    def get(kind):
        if kind not in done:
            done[kind] = make(kind, tmp_path_factory.mktemp(kind.name))
        return done[kind]

    yield get
    for token in done.values():
        token.close()


def names(kinds):
    return {"params": kinds, "ids": [kind.name for kind in kinds]}


EC = [kind for kind in KINDS if kind.ec]


@pytest.fixture(scope="module", **names(KINDS))
def token(request, prepared):
    return prepared(request.param)


@pytest.fixture(scope="module", **names(EC))
def p256(request, prepared):
    """A token that makes P-256 keys."""
    return prepared(request.param)


@pytest.fixture(scope="module", **names([kind for kind in KINDS if not kind.ec]))
def other_token(request, prepared):
    return prepared(request.param)


@pytest.fixture(scope="module")
def lanes(p256):
    """Both lanes of a token, and a key: for tests that leave them as they were."""
    with p256.lane("admin") as admin:
        key_id, spki, _ = admin.generate("contract", 1)
        with p256.lane("sign") as sign:
            sign.load(key_id, spki)
            yield admin, sign, key_id, spki
            assert sign.process.poll() is None
        assert admin.process.poll() is None


# every token

def test_hello_in_time(token):
    begin = time.monotonic()
    with token.lane("sign") as lane:
        assert time.monotonic() - begin < HELLO_SECONDS
        assert lane.hello["type"] == "HELLO", lane.err_text()
        described = json.loads(lane.hello["TOKEN"])
        assert described["label"] == token.label and len(described["module_sha256"]) == 64
        lane.ok("PROBE")


def test_token_that_makes_no_such_keys(other_token):
    """The lane says no, goes on, and nothing is left behind."""
    with other_token.lane("admin") as lane:
        before = lane.ok("LIST")["OBJECTS"]
        assert {"class": "private-key", "id": CA_ID.hex(), "label": "kmsd:ca", "type": "rsa"} in json.loads(before)
        lane.refused(UNABLE, "GENERATE", KEY_ID=secrets.token_bytes(16), LABEL="kmsd:release:app:1", **LOAD)
        assert lane.ok("LIST")["OBJECTS"] == before


def test_generated_key_signs_and_verifies(lanes, tmp_path):
    _, sign, key_id, spki = lanes
    for n in range(5):
        message = pae(b'{"n":%d}' % n)
        signature = sign.ok("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=message)["OUTPUT"]
        assert verifies(tmp_path, spki, message, signature)
        assert not verifies(tmp_path, spki, STATEMENT, signature), "the judge can say no"


def test_key_made_while_a_lane_runs(lanes, p256, tmp_path):
    """A signing lane serves a key that is younger than itself, or says that it does not see it: then the core replaces the lane, and a new one does."""
    admin, sign, _, _ = lanes
    key_id, spki, _ = admin.generate("younger", 1)
    answer = sign.call("LOAD", KEY_ID=key_id, ALGORITHM="p256", SCHEME="statement", SPKI=spki)
    if answer["type"] == "ERROR":
        assert sign.lane_class(answer) == KEY and p256.name == "tpm2", answer  # tpm2-pkcs11 reads its store when it starts
        with p256.lane("sign") as fresh:
            fresh.load(key_id, spki)
            assert verifies(tmp_path, spki, STATEMENT, fresh.ok("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)["OUTPUT"])
        return
    assert verifies(tmp_path, spki, STATEMENT, sign.ok("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)["OUTPUT"])


def test_birth_says_how_the_key_is_kept(p256, lanes):
    """What a token is known not to hold to is not passed over."""
    _, _, birth = lanes[0].generate("birth", 1)
    assert birth["sensitive"] is True and birth["extractable"] is False and birth["probe"] == "ok" and birth["sign"] is True
    assert set(p256.loose) <= set(birth["not_enforced"])
    assert p256.loose or birth["not_enforced"] == []


def test_signing_lane_makes_and_lists_nothing(lanes):
    _, sign, key_id, _ = lanes
    sign.refused(INPUT, "GENERATE", KEY_ID=secrets.token_bytes(16), LABEL="kmsd:release:a:1", **LOAD)
    sign.refused(INPUT, "LIST")
    sign.refused(INPUT, "ISSUE", CSR=b"x", PROFILE=b"{}")
    sign.ok("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)


def test_administrative_lane_signs_nothing(lanes):
    admin, _, key_id, spki = lanes
    admin.refused(INPUT, "LOAD", KEY_ID=key_id, SPKI=spki, **LOAD)
    admin.refused(INPUT, "SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)


def test_unknown_and_foreign_keys(p256, lanes):
    _, sign, key_id, spki = lanes
    for stranger in (secrets.token_bytes(16), p256.ca_id, key_id[:-1], key_id + b"\0", b""):
        sign.refused(KEY, "SIGN", KEY_ID=stranger, SCHEME="statement", INPUT=STATEMENT)
        sign.refused(KEY, "LOAD", KEY_ID=stranger, SPKI=spki, **LOAD)


def test_another_public_key_is_refused(lanes):
    admin, sign, key_id, spki = lanes
    _, other, _ = admin.generate("other", 1)
    flipped = spki[:-1] + bytes([spki[-1] ^ 1])
    for wrong in (other, flipped, spki[:-1], spki + b"\0", b""):
        sign.refused(KEY, "LOAD", KEY_ID=key_id, SPKI=wrong, **LOAD)
    sign.load(key_id, spki)


@pytest.mark.parametrize("change", [{"SCHEME": "digest-pkcs1"}, {"SCHEME": ""}, {"SCHEME": "statement "}, {"ALGORITHM": "ed448"}, {"ALGORITHM": "rsa-2048"}])
def test_wrong_schemes(lanes, change):
    admin, sign, key_id, spki = lanes
    sign.refused(INPUT, "LOAD", KEY_ID=key_id, SPKI=spki, **{**LOAD, **change})
    admin.refused(INPUT, "GENERATE", KEY_ID=secrets.token_bytes(16), LABEL="kmsd:release:a:1", **{**LOAD, **change})
    if "SCHEME" in change:
        sign.refused(INPUT, "SIGN", KEY_ID=key_id, SCHEME=change["SCHEME"], INPUT=STATEMENT)


def test_only_statements_are_signed(lanes):
    _, sign, key_id, _ = lanes
    for other in (b"", b"0" * 32, b"{}", STATEMENT[:-1], STATEMENT + b"}", STATEMENT.replace(b"28", b"27"), STATEMENT.replace(b"v1 ", b"v2 ", 1),
                  pae(b"[]"), pae(b""), os.urandom(300)):
        sign.refused(INPUT, "SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=other)


def test_list_is_complete(p256, lanes):
    admin = lanes[0]
    made = {admin.generate("listed", n)[0].hex(): f"kmsd:release:listed:{n}" for n in range(1, 4)}
    listed = json.loads(admin.ok("LIST")["OBJECTS"])
    for key_id, label in {**made, p256.ca_id.hex(): p256.ca_label}.items():
        for kind in ("private-key", "public-key"):
            assert listed.count({"class": kind, "id": key_id, "label": label, "type": "ec"}) == 1, (kind, label)
    with p256.lane("admin") as again:
        assert sorted(map(str, json.loads(again.ok("LIST")["OBJECTS"]))) == sorted(map(str, listed))


def anchor_of(number):
    """What the core writes has 112 bytes; the lane does not look into them."""
    return bytes([number]) * 112


def test_anchor_is_kept_or_said_not_to_be(token):
    """Replaced as a whole, read by the next process; a token that keeps no such objects says so and works on."""
    field = {"LABEL": "kmsd:anchor:" + secrets.token_hex(16)}
    with token.lane("admin") as lane:
        assert "ANCHOR" not in lane.ok("ANCHOR", **field), "nothing was written yet"
        keeps = "ANCHOR" in lane.ok("ANCHOR", ANCHOR=anchor_of(0), **field)
        assert keeps or token.name not in ("softhsm",), lane.err_text()
        for number in (1, 2):
            answer = lane.ok("ANCHOR", ANCHOR=anchor_of(number), **field)
            assert answer.get("ANCHOR") == (anchor_of(number) if keeps else None), lane.err_text()
        assert "ANCHOR" not in lane.ok("ANCHOR", LABEL="kmsd:anchor:" + secrets.token_hex(16)), "another instance has its own"
        lane.ok("PROBE")
    with token.lane("admin") as lane:
        assert lane.ok("ANCHOR", **field).get("ANCHOR") == (anchor_of(2) if keeps else None)


def test_anchor_has_one_form(lanes):
    admin, sign, _, _ = lanes
    label = "kmsd:anchor:" + secrets.token_hex(16)
    sign.refused(INPUT, "ANCHOR", LABEL=label)
    for other in ("", "kmsd:ca", "kmsd:anchor:", label[:-1], label + "0", label[:-1] + "G", "kmsd:release:" + "a" * 32):
        admin.refused(INPUT, "ANCHOR", LABEL=other, ANCHOR=anchor_of(1))
        admin.refused(INPUT, "ANCHOR", LABEL=other)
    for data in (b"", anchor_of(1)[:-1], anchor_of(1) + b"x"):
        admin.refused(INPUT, "ANCHOR", LABEL=label, ANCHOR=data)
    assert "ANCHOR" not in admin.ok("ANCHOR", LABEL=label)


@pytest.mark.parametrize("data", [
    b"\xff\xff\xff\xff" + b"x" * 20, b"\0\0\0\0", b"\0\0\0\x08" + b"\x14" + b"\0" * 7, b"\0\0\0\x09" + b"\xee" + b"\0" * 8,
    frame("HELLO", 1, {}), frame("RESULT", 1, {"OUTPUT": b"x"}), frame("SIGN", 1, {"KEY_ID": b"x" * 16}),
    frame("TLS_REFUSED", 1, {"COUNT": b"\x01", "REASON": "x"}), frame("PROBE", 1, {"CSR": b"x"}), b"\0\0\0\x0e" + frame("PROBE", 1, {})[4:] + b"\x0d\xff\xff\xff\xff"])
def test_malformed_frame_ends_the_lane(token, data):
    with token.lane("sign") as lane:
        lane.ours.sendall(data)
        assert lane.ended() == 1
    if data[:4] == b"\xff\xff\xff\xff":
        with token.lane("sign") as lane:
            lane.ok("PROBE")


def test_lane_killed_and_replaced(p256, lanes, tmp_path):
    _, _, key_id, spki = lanes
    for _ in range(3):
        with p256.lane("sign") as lane:
            lane.load(key_id, spki)
            for _ in range(random.randrange(4)):
                lane.send("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)
            lane.kill()
    with p256.lane("sign") as lane:
        lane.load(key_id, spki)
        assert verifies(tmp_path, spki, STATEMENT, lane.sign(key_id)["OUTPUT"])


# the PIN, on every token, counted by the shim before it

@pytest.fixture(**names(KINDS))
def shimmed(request, tmp_path):
    made = make(request.param, tmp_path)
    if not made.shim:
        made.behind_shim()
    yield made
    made.close()


def test_wrong_pin_is_tried_once(shimmed):
    wrong = "wrong999" if len(shimmed.pin) == 8 else "wrong-pin-wrong-pin-wrong"
    shimmed.write_pin(wrong)
    with shimmed.lane("sign", wait=False) as lane:
        assert lane.ended(20) == EXIT_PIN
        assert shimmed.shim.calls("C_Login") == 1, lane.err_text()
        assert wrong not in lane.err_text()
    with shimmed.lane("admin", wait=False) as lane:
        assert lane.ended(20) == EXIT_PIN
    assert shimmed.shim.calls("C_Login") == 1, "the next lane leaves the PIN alone"
    shimmed.write_pin(shimmed.pin)
    unseal(shimmed)
    with shimmed.lane("sign") as lane:
        lane.ok("PROBE")
        assert shimmed.shim.calls("C_Login") == 2


def unseal(token):
    (token.dir / "tokens/sealed").unlink()


def spoil_pin(token):
    """One wrong PIN, by somebody else's program."""
    if isinstance(token, Fake):
        token.wrong_pins += 1
    else:
        tried = token.run("pkcs11-tool", "--module", token.module, "--login", "--pin", "wrong999", "--list-objects", check=False)
        assert b"CKR_PIN_INCORRECT" in tried.stderr or b"CKR_PIN_LOCKED" in tried.stderr, tried.stderr


@pytest.mark.parametrize("kind", [Fake, OpenCryptoki])
def test_last_try_of_a_pin_is_not_spent(kind, tmp_path):
    token = make(kind, tmp_path)
    try:
        token.behind_shim()
        spoil_pin(token)
        with token.lane("sign") as lane:
            lane.ok("PROBE")
        spoil_pin(token)
        spoil_pin(token)
        before = token.shim.calls("C_Login")
        for _ in ("the last try", "locked"):
            with token.lane("sign", wait=False) as lane:
                assert lane.ended(20) == EXIT_PIN
                assert "event=token-flags" in lane.err_text()
            assert token.shim.calls("C_Login") == before
            unseal(token)
            spoil_pin(token)
    finally:
        token.close()


# tokens that fail

LOST = (0x05, 0x06, 0x30, 0x31, 0x32, 0xE0, 0x190)
SESSION, LOGIN = (0x90, 0xB3), (0x82, 0x101)
FAILURES = LOST + SESSION + LOGIN
EACH = [pytest.param(kind, rv, id=f"{kind.name}-{rv:#x}") for kind, some in ((Fake, FAILURES), (SoftHSM, (0x30, 0xE0, *SESSION, *LOGIN))) for rv in some]
each_failure = pytest.mark.parametrize("failing,rv", EACH, indirect=["failing"], scope="module")


@pytest.fixture(scope="module", **names([Fake, SoftHSM]))
def failing(request, tmp_path_factory):
    """A token behind the shim with a key: (token, key id, SPKI)."""
    made = make(request.param, tmp_path_factory.mktemp("failing"))
    made.behind_shim()
    with made.lane("admin") as lane:
        key_id, spki, _ = lane.generate("failing", 1)
    yield made, key_id, spki
    made.close()


@pytest.fixture()
def failing_sign(failing):
    token, key_id, spki = failing
    token.shim.set()
    with token.lane("sign") as lane:
        lane.load(key_id, spki)
        yield lane, token.shim, key_id, lambda answer: Verifier(spki)(STATEMENT, answer["OUTPUT"])
        token.shim.set()
        if lane.process.poll() is None:
            assert Verifier(spki)(STATEMENT, lane.sign(key_id)["OUTPUT"]), "the lane goes on"
            return
    with token.lane("sign") as lane:
        lane.load(key_id, spki)
        assert Verifier(spki)(STATEMENT, lane.sign(key_id)["OUTPUT"]), "a new lane works"


def gone(lane, answer):
    """The lane said that its token fails, and leaves."""
    return answer["type"] == "ERROR" and "OUTPUT" not in answer and Lane.lane_class(answer) == TOKEN and lane.ended() == EXIT_TOKEN


@pytest.mark.parametrize("function", ["C_SignInit", "C_Sign"])
@each_failure
def test_signing_fails_once(failing_sign, function, rv):
    """A token that is lost ends the lane; a session, a login, and whatever an operation left half done, are renewed. The PIN is not spent on it."""
    lane, shim, key_id, good = failing_sign
    shim.set(f"{function} first:1 fail:{rv}")
    before = shim.calls("C_Login")
    answer = lane.sign(key_id)
    if rv in LOST and function == "C_SignInit":
        assert gone(lane, answer), lane.err_text()
    else:
        assert answer["type"] == "RESULT" and good(answer), lane.err_text()
        assert good(lane.sign(key_id))
    assert shim.calls("C_Login") == before, "the session was logged in all the time"


def test_session_logged_out(failing_sign):
    """One login renews it, and one only."""
    lane, shim, key_id, good = failing_sign
    before = shim.calls("C_Login")
    shim.set("C_SignInit first:1 logout")
    assert good(lane.sign(key_id)) and good(lane.sign(key_id))
    assert shim.calls("C_Login") == before + 1
    shim.set("C_SignInit always logout")
    assert gone(lane, lane.sign(key_id))
    assert shim.calls("C_Login") <= before + 2


@pytest.mark.parametrize("function", ["C_SignInit", "C_Sign"])
@each_failure
def test_signing_fails_always(failing_sign, function, rv):
    lane, shim, key_id, _ = failing_sign
    shim.set(f"{function} always fail:{rv}")
    before = shim.calls("C_Login")
    assert gone(lane, lane.sign(key_id)), lane.err_text()
    assert shim.calls("C_Login") - before <= 1 and shim.faults(function) > 0


@each_failure
def test_signing_fails_at_random(failing, rv):
    """Whatever happens: an answer verifies, or the lane says that its token fails, ends, and another goes on."""
    token, key_id, spki = failing
    shim, lane, good, ends = token.shim, None, 0, 0
    functions = ("C_SignInit", "C_Sign", "C_FindObjects")
    before = sum(map(shim.faults, functions))
    shim.set(*(f"{function} random:150:{rv + n} fail:{rv}" for n, function in enumerate(functions)))
    try:
        for _ in range(20):
            if not lane:
                lane = token.lane("sign").wait_hello()
                loaded = lane.call("LOAD", KEY_ID=key_id, SPKI=spki, **LOAD)
                if loaded["type"] == "ERROR":
                    assert gone(lane, loaded)
                    lane.__exit__()
                    lane, ends = None, ends + 1
                    continue
            answer = lane.sign(key_id)
            if answer["type"] == "RESULT":
                good += 1
                assert Verifier(spki)(STATEMENT, answer["OUTPUT"])
            else:
                assert gone(lane, answer)
                lane.__exit__()
                lane, ends = None, ends + 1
    finally:
        if lane:
            lane.__exit__()
    faults = sum(map(shim.faults, functions)) - before
    shim.set()
    assert good >= 4 and faults > 0
    assert ends > 0 if rv in LOST else 2 * ends <= faults, "what a new session or login heals ends a lane only when it fails again"


@pytest.mark.parametrize("when", ["first:1", "always", "random:500:7"])
@each_failure
def test_searching_fails(failing, rv, when):
    """LIST searches: a lane that lists tells everything there is, or that its token fails."""
    token = failing[0]
    token.shim.set()
    with token.lane("admin") as lane:
        whole = lane.ok("LIST")["OBJECTS"]
        token.shim.set(f"C_FindObjects {when} fail:{rv}")
        before = token.shim.faults("C_FindObjects")
        answer = lane.call("LIST")
        failed = token.shim.faults("C_FindObjects") > before
        if answer["type"] == "RESULT":
            assert answer["OBJECTS"] == whole and not (rv in LOST and failed)
        else:
            assert failed and gone(lane, answer)
        if when == "first:1" and rv not in LOST:
            assert answer["type"] == "RESULT", lane.err_text()
        if when == "always":
            assert answer["type"] == "ERROR"
    token.shim.set()


def test_key_is_made_or_not(failing):
    """A failure at any step of a generation: the caller has a whole key, or is told no and a new lane finds none."""
    token = failing[0]
    steps = [(function, n) for function in ("C_GenerateKeyPair", "C_SignInit", "C_Sign", "C_GetAttributeValue", "C_FindObjects") for n in (1, 2, 5)]
    for function, n in steps:
        token.shim.set()
        key_id = secrets.token_bytes(16)
        with token.lane("admin") as lane:
            before = set(map(str, json.loads(lane.ok("LIST")["OBJECTS"])))
            token.shim.set(f"{function} nth:{n} fail:0x30")
            answer = lane.call("GENERATE", KEY_ID=key_id, LABEL="kmsd:release:step:1", **LOAD)
            faulted = token.shim.faults(function)
        token.shim.set()
        with token.lane("admin") as lane:
            after = set(map(str, json.loads(lane.ok("LIST")["OBJECTS"])))
        mine = [entry for entry in after if key_id.hex() in entry]
        assert before <= after and after - before == set(mine)
        if answer["type"] == "RESULT":
            assert len(mine) == 2
        else:
            assert faulted and not mine, (function, n, answer, mine)


# tokens that lie

@pytest.mark.parametrize("when", ["always", "random:500:3"])
@pytest.mark.parametrize("rule", ["C_Sign {} flip", "C_SignInit {} swap", "C_Sign {} len:63", "C_Sign {} len:0"])
def test_wrong_signature_stays_inside(failing_sign, rule, when):
    lane, shim, key_id, good = failing_sign
    shim.set(rule.format(when))
    function = rule.split()[0]
    for _ in range(12):
        before = shim.faults(function)
        answer = lane.sign(key_id)
        if shim.faults(function) > before:
            assert answer["type"] == "ERROR" and Lane.lane_class(answer) == VERIFY and set(answer) == {"type", "id", "CLASS", "REASON"}
        else:
            assert answer["type"] == "RESULT" and good(answer)
    assert shim.faults(function) >= 3
    shim.set()
    assert good(lane.sign(key_id))


def test_every_bit_of_a_signature_counts(failing_sign):
    """64 faults, each at another place: the verification is not of a part."""
    lane, shim, key_id, _ = failing_sign
    shim.set("C_Sign always flip")
    for _ in range(64):
        lane.refused(VERIFY, "SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)


def test_swapped_key_is_not_born(failing):
    """The probe of a new key is signed by another one: it is not kept."""
    token = failing[0]
    with token.lane("admin") as lane:
        before = lane.ok("LIST")["OBJECTS"]
        token.shim.set("C_SignInit always swap")
        assert lane.call("GENERATE", KEY_ID=secrets.token_bytes(16), LABEL="kmsd:release:swap:1", **LOAD)["type"] == "ERROR"
        token.shim.set()
    with token.lane("admin") as lane:
        assert lane.ok("LIST")["OBJECTS"] == before


@pytest.fixture()
def fake(tmp_path):
    made = make(Fake, tmp_path)
    yield made
    made.close()


@pytest.fixture()
def fake_lanes(fake):
    with fake.lane("admin") as admin, fake.lane("sign") as sign:
        key_id, spki, _ = admin.generate("fake", 1)
        yield admin, sign, key_id, spki


@pytest.mark.parametrize("mode", [Fake.WRONG_PUBLIC, Fake.HIDE_PRIVATE])
def test_key_that_is_not_the_recorded_one(fake, fake_lanes, mode):
    _, sign, key_id, spki = fake_lanes
    fake.mode(mode)
    sign.refused(KEY, "LOAD", KEY_ID=key_id, SPKI=spki, **LOAD)
    fake.mode(0)
    sign.load(key_id, spki)


def test_two_keys_with_one_id(fake, fake_lanes):
    admin, sign, key_id, spki = fake_lanes
    fake.add(key_id, "kmsd:release:twin:1")
    sign.refused(KEY, "LOAD", KEY_ID=key_id, SPKI=spki, **LOAD)
    admin.refused(KEY, "GENERATE", KEY_ID=key_id, LABEL="kmsd:release:again:1", **LOAD)
    with fake.lane("sign") as lane:
        lane.refused(KEY, "LOAD", KEY_ID=key_id, SPKI=spki, **LOAD)


def test_signing_lane_that_lost_its_wall(fake, fake_lanes):
    """A key whose public half is the recorded one, and whose label is no release key's, is no release key."""
    admin, sign, _, _ = fake_lanes
    stranger, spki, _ = admin.generate("stranger")
    for label in ("somebody else's", "kmsd:ca", "kmsd:release:stranger:1:digest", "kmsd:release:stranger"):
        fake.relabel(stranger, label)
        with fake.lane("sign") as lane:
            lane.refused(KEY, "LOAD", KEY_ID=stranger, SPKI=spki, **LOAD)
    fake.relabel(stranger, "kmsd:release:stranger:1")
    sign.load(stranger, spki)


@pytest.mark.parametrize("mode", [Fake.WRONG_PUBLIC, Fake.EXTRACTABLE, Fake.WRONG_SIGNATURE, Fake.HIDE_PRIVATE])
def test_key_that_is_not_as_asked_is_not_kept(fake, mode):
    with fake.lane("admin") as admin:
        fake.mode(mode)
        answer = admin.call("GENERATE", KEY_ID=secrets.token_bytes(16), LABEL="kmsd:release:bad:1", **LOAD)
        assert answer["type"] == "ERROR" and "SPKI" not in answer
        fake.mode(0)
        assert fake.ids() == [CA_ID]
        admin.generate("good", 1)


def test_extractable_is_not_overlooked(fake):
    """Read back through the shim: each of these attributes alone refuses the key."""
    fake.behind_shim()
    with fake.lane("admin") as admin:
        for attribute, value in ((0x162, 1), (0x103, 0), (0x165, 0), (0x164, 0), (0x163, 0), (0x108, 0)):
            fake.shim.set(f"C_GetAttributeValue always set:{attribute}:{value}")
            answer = admin.call("GENERATE", KEY_ID=secrets.token_bytes(16), LABEL="kmsd:release:bad:1", **LOAD)
            assert answer["type"] == "ERROR", hex(attribute)
            assert fake.ids() == [CA_ID]


def test_bare_point(fake, tmp_path):
    """Some tokens leave the OCTET STRING around CKA_EC_POINT out."""
    fake.mode(Fake.BARE_POINT)
    with fake.lane("admin") as admin, fake.lane("sign") as sign:
        key_id, spki, _ = admin.generate("bare", 1)
        sign.load(key_id, spki)
        assert verifies(tmp_path, spki, STATEMENT, sign.sign(key_id)["OUTPUT"])


def test_token_that_logs_out_after_each_signature(fake, fake_lanes, tmp_path):
    _, sign, key_id, spki = fake_lanes
    sign.load(key_id, spki)
    fake.mode(Fake.FORGETFUL)
    for _ in range(5):
        assert verifies(tmp_path, spki, STATEMENT, sign.sign(key_id)["OUTPUT"])


def test_token_taken_out_and_put_back(fake, tmp_path):
    """A lane without its token says that it is away, tries no PIN, and goes on by itself when the token is back."""
    fake.behind_shim()
    fake.mode(Fake.ABSENT)
    with fake.lane("sign") as lane:
        for _ in range(3):
            assert lane.hello["type"] == "AWAY" and lane.hello["REASON"], lane.err_text()
            lane.hello = lane.read()
        assert fake.shim.calls("C_Login") == 0
        fake.mode(0)
        wait_for(lambda: lane.read()["type"] == "HELLO", 5, "the lane that found its token")
        lane.ok("PROBE")
        assert fake.shim.calls("C_Login") == 1


def test_picky_token_is_said_no_or_recorded(fake):
    """A token that refuses the full template: no key, or one whose birth says what is not enforced."""
    fake.mode(Fake.PICKY)
    with fake.lane("admin") as admin:
        key_id = secrets.token_bytes(16)
        answer = admin.call("GENERATE", KEY_ID=key_id, LABEL="kmsd:release:picky:1", **LOAD)
        if answer["type"] == "RESULT":
            birth = json.loads(answer["BIRTH"])
            assert birth["not_enforced"] and birth["extractable"] is False and birth["sensitive"] is True
        else:
            assert Lane.lane_class(answer) == UNABLE and fake.ids() == [CA_ID]


# tokens that hang

def test_hanging_signature(failing_sign):
    """The lane keeps silent and still until somebody kills it: the deadline is the core's."""
    lane, shim, key_id, good = failing_sign
    assert good(lane.sign(key_id))
    shim.set("C_Sign always hang")
    lane.send("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)
    before = lane.cpu_seconds()
    assert lane.silent(0.7)
    assert lane.cpu_seconds() - before < 0.1 and lane.process.poll() is None
    lane.kill()


def test_hanging_start_keeps_nobody_out_for_good(failing):
    """A lane that hangs in its login holds the lock that starts take in turn; killed, it lets go."""
    token, key_id, spki = failing
    token.shim.set("C_Login first:1 hang")
    with token.lane("sign", index=0, wait=False) as first:
        wait_for(lambda: token.shim.faults("C_Login") > 0 and token.shim.calls("C_Login"), 10, "the login")
        with token.lane("sign", index=1, wait=False) as second:
            assert second.silent(0.5)
            first.kill()
            second.hello = second.read()
            assert second.hello["type"] == "HELLO"
            second.load(key_id, spki)
            assert Verifier(spki)(STATEMENT, second.sign(key_id)["OUTPUT"])
    token.shim.set()


def test_module_that_crashes(failing_sign):
    lane, shim, key_id, _ = failing_sign
    shim.set("C_Sign always crash")
    assert lane.sign(key_id) is None
    assert lane.process.wait(10) < 0


def test_slow_token(failing_sign):
    lane, shim, key_id, good = failing_sign
    shim.set("C_Sign always delay:300")
    begin = time.monotonic()
    assert good(lane.sign(key_id)) and time.monotonic() - begin >= 0.3


def test_login_that_fails_at_start(failing):
    """Only a refused PIN is for people; everything else at start is a token that is away, and looked for again."""
    token = failing[0]
    token.shim.set("C_Login first:1 fail:0x30")
    with token.lane("sign", wait=False) as lane:
        first = lane.read()
        assert first["type"] == "AWAY"
        wait_for(lambda: lane.read()["type"] == "HELLO", 5, "the lane that found its token")
    assert not (token.dir / "tokens/sealed").exists()
    token.shim.set("C_Login always fail:0xA4")
    with token.lane("sign", wait=False) as lane:
        assert lane.ended() == EXIT_PIN
    token.shim.set()
    unseal(token)


def test_pin_refused_while_running(failing_sign, failing):
    lane, shim, key_id, _ = failing_sign
    shim.set("C_SignInit first:1 logout", "C_Login always fail:0xA0")
    before = shim.calls("C_Login")
    lane.refused(HUMAN, "SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)
    assert lane.ended() == EXIT_PIN and shim.calls("C_Login") == before + 1
    unseal(failing[0])
