"""Every algorithm with every scheme, on each kind of token that can make such keys; openssl is the judge."""
import datetime
import json
import os
import re
import secrets
import subprocess
import time

import pytest

from lane import ALGORITHMS, INPUT, KEY, SCHEMES, STATEMENT, UNABLE, VERIFY, digest_of, frame, judged, openssl, pae, scheme_input
from tokens import Missing, Nss, OpenCryptoki, SoftHSM, Tpm, build_modules

PAIRS = [(algorithm, scheme) for scheme, algorithms in SCHEMES.items() for algorithm in algorithms]
NO_PAIRS = [(algorithm, scheme) for scheme in SCHEMES for algorithm in ALGORITHMS if algorithm not in SCHEMES[scheme]]
MECHANISMS = {"statement": "CKM_RSA_PKCS_PSS", "digest": "CKM_RSA_PKCS_PSS", "digest-pkcs1": "CKM_RSA_PKCS"}
GENERATION = {"rsa": "CKM_RSA_PKCS_KEY_PAIR_GEN", "ed2": "CKM_EC_EDWARDS_KEY_PAIR_GEN"}
LENGTHS = {"rsa-2048": 256, "rsa-3072": 384, "rsa-4096": 512, "ed25519": 64}
EC = ("p256", "p384")
# Which keys each kind of token makes; what it does not make it must refuse.
KINDS = {
    SoftHSM: lambda algorithm, scheme: True,
    Nss: lambda algorithm, scheme: algorithm != "ed25519",
    Tpm: lambda algorithm, scheme: algorithm in (*EC, "rsa-2048", "rsa-3072") and scheme != "digest-pkcs1",
    OpenCryptoki: lambda algorithm, scheme: algorithm.startswith("rsa"),
}


def each(wanted):
    found = [(kind, *pair) for kind, makes in KINDS.items() for pair in PAIRS if makes(*pair) == wanted]
    return [pytest.param(case, id=f"{case[0].name}-{case[1]}-{case[2]}") for case in found]


@pytest.fixture(scope="module", autouse=True)
def modules():
    build_modules()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Each kind of token with both of its lanes, started once."""
    done = {}

    def get(kind):
        if kind not in done:
            try:
                token = kind(tmp_path_factory.mktemp(kind.name))
            except Missing as missing:
                pytest.skip(str(missing))
            done[kind] = token, token.lane("admin")
        return done[kind]

    yield get
    for token, admin in done.values():
        admin.__exit__()
        token.close()


def destroyed(admin, key_id, spki, algorithm, scheme):
    """The label says for which scheme a key was made: under another nothing is removed."""
    key = {"KEY_ID": key_id, "SPKI": spki, "ALGORITHM": algorithm, "LABEL": f"kmsd:release:{algorithm}.{scheme}:1"}
    before = admin.ok("LIST")["OBJECTS"]
    for other in SCHEMES:
        if other != scheme and algorithm in SCHEMES[other]:
            admin.refused(KEY, "DESTROY", SCHEME=other, **key)
    assert admin.ok("LIST")["OBJECTS"] == before
    proof = json.loads(admin.ok("DESTROY", SCHEME=scheme, **key)["PROOF"])
    assert proof["left"] == 0 and proof["private"] == proof["public"] == 1
    assert key_id.hex().encode() not in admin.ok("LIST")["OBJECTS"]


@pytest.fixture(scope="module", params=each(True))
def made(request, prepared):
    """A key, loaded into a signing lane that started after it was made."""
    kind, algorithm, scheme = request.param
    token, admin = prepared(kind)
    key_id, spki, birth = admin.generate(f"{algorithm}.{scheme}", 1, algorithm, scheme)
    with token.lane("sign") as sign:
        sign.load(key_id, spki, algorithm, scheme)
        yield sign, key_id, spki, birth, algorithm, scheme
    destroyed(admin, key_id, spki, algorithm, scheme)


def test_signs_what_openssl_verifies(made, tmp_path):
    sign, key_id, spki, _, algorithm, scheme = made
    for number in range(3):
        data = scheme_input(algorithm, scheme, number)
        answer = sign.sign(key_id, data, scheme)
        assert answer["type"] == "RESULT", sign.err_text()
        assert judged(tmp_path, spki, algorithm, scheme, data, answer["OUTPUT"])
        assert len(answer["OUTPUT"]) == LENGTHS.get(algorithm, len(answer["OUTPUT"]))
        other = scheme_input(algorithm, scheme, number + 1)
        assert not judged(tmp_path, spki, algorithm, scheme, other, answer["OUTPUT"]), "the judge can say no"


def test_takes_its_input_only(made):
    sign, key_id, _, _, algorithm, scheme = made
    digest = digest_of(algorithm, b"x")
    wrong = (b"", STATEMENT, digest[:-1], digest + b"x", digest * 2, b"x" * 16, b"x" * 20, b"x" * (80 - len(digest)), b"x" * 51, b"x" * 64)
    for data in wrong if scheme != "statement" else (b"", digest, STATEMENT[:-1], pae(b"[]")):
        sign.refused(INPUT, "SIGN", KEY_ID=key_id, SCHEME=scheme, INPUT=data)
    for other in SCHEMES:
        if other != scheme:
            sign.refused(INPUT, "SIGN", KEY_ID=key_id, SCHEME=other, INPUT=scheme_input(algorithm, other))


def test_birth(made):
    _, _, _, birth, algorithm, scheme = made
    assert birth["probe"] == "ok" and birth["sign"] is True and birth["sensitive"] is True
    assert birth["mechanism_generate"] == GENERATION.get(algorithm[:3], "CKM_EC_KEY_PAIR_GEN")
    rsa = algorithm.startswith("rsa")
    assert birth["allowed_mechanisms"] == [MECHANISMS[scheme] if rsa else "CKM_EDDSA" if algorithm == "ed25519" else "CKM_ECDSA"]
    assert birth.get("adds_digest_info") is (False if scheme == "digest-pkcs1" else None)


@pytest.mark.parametrize("pair", each(False))
def test_keys_that_the_token_does_not_make(pair, prepared):
    """Refused, nothing left behind, and the lane goes on."""
    kind, algorithm, scheme = pair
    _, admin = prepared(kind)
    before = admin.ok("LIST")["OBJECTS"]
    answer = admin.refused(UNABLE, "GENERATE", KEY_ID=secrets.token_bytes(16), ALGORITHM=algorithm, SCHEME=scheme, LABEL="kmsd:release:none:1")
    assert answer["REASON"]
    assert admin.ok("LIST")["OBJECTS"] == before


# what holds whatever the algorithm, on SoftHSM

@pytest.fixture(scope="module")
def soft(prepared):
    return prepared(SoftHSM)


@pytest.fixture()
def shimmed(tmp_path):
    token = SoftHSM(tmp_path).behind_shim()
    with token.lane("admin") as admin:
        yield token, admin
    token.close()


def test_key_has_the_scheme_it_was_made_for(soft):
    """Whatever the core is talked into: a statement key never signs a digest, and no other turn either."""
    token, admin = soft
    for algorithm in ("p256", "p384", "rsa-3072", "rsa-4096"):
        schemes = [scheme for scheme in SCHEMES if algorithm in SCHEMES[scheme]]
        keys = {scheme: admin.generate(f"bound.{algorithm}", 1, algorithm, scheme)[:2] for scheme in schemes}
        with token.lane("sign") as sign:
            for scheme, (key_id, spki) in keys.items():
                for other in set(SCHEMES) - {scheme}:
                    sign.refused(KEY if other in schemes else INPUT, "LOAD", KEY_ID=key_id, SPKI=spki, ALGORITHM=algorithm, SCHEME=other)
                sign.load(key_id, spki, algorithm, scheme)
                sign.refused(KEY, "LOAD", KEY_ID=key_id, SPKI=spki, ALGORITHM="p256" if algorithm == "p384" else "p384", SCHEME="digest")
                assert sign.sign(key_id, scheme_input(algorithm, scheme), scheme)["type"] == "RESULT"


@pytest.mark.parametrize("algorithm,scheme", NO_PAIRS + [
    ("p521", "statement"), ("rsa-1024", "digest"), ("rsa-2048", "raw"), ("RSA-2048", "digest"), ("", "")])
def test_pairs_outside_the_table(soft, algorithm, scheme):
    token, admin = soft
    admin.refused(INPUT, "GENERATE", KEY_ID=secrets.token_bytes(16), ALGORITHM=algorithm, SCHEME=scheme, LABEL="kmsd:release:none:1")
    with token.lane("sign") as sign:
        sign.refused(INPUT, "LOAD", KEY_ID=secrets.token_bytes(16), SPKI=b"x", ALGORITHM=algorithm, SCHEME=scheme)


def csr(directory):
    openssl("req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", directory / "client.key",
            "-out", directory / "client.csr", "-subj", "/CN=anybody")
    return openssl("req", "-in", directory / "client.csr", "-outform", "DER")


def profile():
    begin = datetime.datetime.now(datetime.timezone.utc)
    begin, end = ((begin + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%fZ") for days in (0, 30))
    return json.dumps({"serial": "7" + secrets.token_hex(16)[1:], "cn": "ci", "kind": "ci", "not_before": begin, "not_after": end,
                       "uri": [], "dns": [], "ip": []})


def test_ed25519_key_hides_no_other(tmp_path):
    """Beside an Ed25519 key, all lanes start anew, the authority issues certificates, everything signs."""
    token = SoftHSM(tmp_path)
    made = {}
    with token.lane("admin") as admin:
        for algorithm, scheme in (("p256", "statement"), ("ed25519", "statement"), ("p384", "digest"), ("ed25519", "statement"),
                                  ("rsa-2048", "digest-pkcs1")):
            made[admin.generate(f"mixed.{len(made)}", 1, algorithm, scheme)[:2]] = algorithm, scheme
    request = csr(tmp_path)
    for _ in range(2):
        with token.lane("admin") as admin, token.lane("sign") as first, token.lane("sign", index=1) as second:
            types = [entry["type"] for entry in json.loads(admin.ok("LIST")["OBJECTS"])]
            assert types.count("ec-edwards") == 4 and types.count("ec") == 6 and types.count("rsa") == 2, types
            (tmp_path / "client.der").write_bytes(admin.ok("ISSUE", CSR=request, PROFILE=profile())["CERT"])
            openssl("x509", "-inform", "DER", "-in", tmp_path / "client.der", "-out", tmp_path / "client.pem")
            openssl("verify", "-x509_strict", "-CAfile", tmp_path / "tls/ca.pem", "-purpose", "sslclient", tmp_path / "client.pem")
            admin.ok("PROBE")
            for sign in (first, second):
                for (key_id, spki), (algorithm, scheme) in made.items():
                    sign.load(key_id, spki, algorithm, scheme)
                for (key_id, spki), (algorithm, scheme) in made.items():
                    data = scheme_input(algorithm, scheme)
                    assert judged(tmp_path, spki, algorithm, scheme, data, sign.sign(key_id, data, scheme)["OUTPUT"])
                    sign.ok("PROBE")
    token.close()


def test_token_that_adds_a_digest_info(shimmed):
    """It would sign something else than it is given: no PKCS#1 key is made on it, others are."""
    token, admin = shimmed
    before = admin.ok("LIST")["OBJECTS"]
    token.shim.set("C_Sign always info")
    order = {"ALGORITHM": "rsa-2048", "SCHEME": "digest-pkcs1", "LABEL": "kmsd:release:adds:1"}
    answer = admin.refused(UNABLE, "GENERATE", KEY_ID=secrets.token_bytes(16), **order)
    assert b"DigestInfo" in answer["REASON"]
    assert admin.ok("LIST")["OBJECTS"] == before
    token.shim.set()
    assert admin.generate("adds", 1, "rsa-2048", "digest-pkcs1")[2]["adds_digest_info"] is False


def test_token_that_refuses_raw_input_adds_nothing(shimmed):
    token, admin = shimmed
    token.shim.set("C_Sign first:1 fail:0x21")
    assert admin.generate("strict", 1, "rsa-2048", "digest-pkcs1")[2]["adds_digest_info"] is False
    assert token.shim.faults("C_Sign") == 1


@pytest.mark.parametrize("salt", [0, 20, 31, 33, 64])
def test_salt_of_another_length_is_not_released(shimmed, salt):
    token, admin = shimmed
    key_id, spki, _ = admin.generate("salt", 1, "rsa-2048", "digest")
    token.shim.set(f"C_SignInit always salt:{salt}")
    with token.lane("sign") as sign:
        sign.load(key_id, spki, "rsa-2048", "digest")
        sign.refused(VERIFY, "SIGN", KEY_ID=key_id, SCHEME="digest", INPUT=bytes(32))
        token.shim.set()
        assert sign.sign(key_id, bytes(32), "digest")["type"] == "RESULT"


@pytest.mark.parametrize("algorithm,scheme", [("p384", "statement"), ("rsa-2048", "digest"), ("rsa-2048", "digest-pkcs1"), ("ed25519", "statement")])
def test_wrong_signature_stays_inside(shimmed, algorithm, scheme):
    token, admin = shimmed
    key_id, spki, _ = admin.generate("wrong", 1, algorithm, scheme)
    data = scheme_input(algorithm, scheme)
    with token.lane("sign") as sign:
        sign.load(key_id, spki, algorithm, scheme)
        for rule in ("C_Sign always flip", "C_Sign always len:63", "C_Sign always len:0"):
            token.shim.set(rule)
            for _ in range(8):
                sign.refused(VERIFY, "SIGN", KEY_ID=key_id, SCHEME=scheme, INPUT=data)
        token.shim.set()
        assert sign.sign(key_id, data, scheme)["type"] == "RESULT"


def test_slow_signatures_are_answered_as_they_come(soft):
    """A batch of them takes longer than the core waits for a lane that says nothing."""
    token, admin = soft
    key_id, spki, _ = admin.generate("slow", 1, "rsa-4096", "digest")
    with token.lane("sign") as sign:
        sign.load(key_id, spki, "rsa-4096", "digest")
        begin = time.monotonic()
        sign.ours.sendall(b"".join(frame("SIGN", n + 1, {"KEY_ID": key_id, "SCHEME": "digest", "INPUT": bytes(32)}) for n in range(200)))
        assert sign.read()["type"] == "RESULT"
        first = time.monotonic() - begin
        assert [sign.read()["id"] for _ in range(199)] == list(range(2, 201))
        assert first < (time.monotonic() - begin) / 4


def test_mechanism_of_the_scheme_is_the_only_one(soft, tmp_path):
    """Another program with the PIN sees one mechanism on each key, and raw RSA is refused to it."""
    token, admin = soft
    shown = {"CKM_ECDSA": "ECDSA", "CKM_EDDSA": "EDDSA", "CKM_RSA_PKCS": "RSA-PKCS", "CKM_RSA_PKCS_PSS": "RSA-PKCS-PSS"}
    env = {**os.environ, "SOFTHSM2_CONF": str(token.dir / "tokens/keys/softhsm2.conf"), "TEST_PIN": token.pin}
    tool = ["pkcs11-tool", "--module", token.module, "--token-label", token.label, "--login", "--pin", "env:TEST_PIN"]
    (tmp_path / "block").write_bytes(bytes(256))
    for algorithm, scheme in (("p384", "digest"), ("ed25519", "statement"), ("rsa-2048", "digest"), ("rsa-2048", "digest-pkcs1")):
        key_id, _, birth = admin.generate("only", 1, algorithm, scheme)
        listed = subprocess.run([*tool, "--list-objects", "--type", "privkey"], env=env, capture_output=True, text=True, check=True).stdout
        mine = [text for text in listed.split("Private Key Object") if key_id.hex() in text]
        assert len(mine) == 1 and re.findall(r"Allowed mechanisms: +(.*)", mine[0]) == [shown[birth["allowed_mechanisms"][0]]], mine
        if algorithm == "rsa-2048":
            raw = subprocess.run([*tool, "--sign", "--mechanism", "RSA-X-509", "--id", key_id.hex(), "--input-file", tmp_path / "block"], env=env,
                                 capture_output=True, text=True, check=False)
            assert raw.returncode and "CKR_MECHANISM_INVALID" in raw.stderr, raw.stderr
