"""Every algorithm with every scheme, on each kind of token that can make such keys; openssl is the judge."""
import secrets

import pytest

from lane import ALGORITHMS, INPUT, KEY, SCHEMES, STATEMENT, digest_of, judged, pae, scheme_input
from tokens import Missing, Nss, OpenCryptoki, SoftHSM, Tpm, build_modules

PAIRS = [(algorithm, scheme) for scheme, algorithms in SCHEMES.items() for algorithm in algorithms]
NO_PAIRS = [(algorithm, scheme) for scheme in SCHEMES for algorithm in ALGORITHMS if algorithm not in SCHEMES[scheme]]
MECHANISMS = {"statement": "CKM_RSA_PKCS_PSS", "digest": "CKM_RSA_PKCS_PSS", "digest-pkcs1": "CKM_RSA_PKCS"}
GENERATION = {"rsa": "CKM_RSA_PKCS_KEY_PAIR_GEN", "ed2": "CKM_EC_EDWARDS_KEY_PAIR_GEN"}
LENGTHS = {"rsa-2048": 256, "rsa-3072": 384, "rsa-4096": 512, "ed25519": 64}
# What each kind of token makes keys for.
KINDS = {
    SoftHSM: PAIRS,
    Nss: PAIRS,
    Tpm: PAIRS,
    OpenCryptoki: PAIRS,
}
EACH = [pytest.param((kind, *pair), id=f"{kind.name}-{pair[0]}-{pair[1]}") for kind, pairs in KINDS.items() for pair in pairs]


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


@pytest.fixture(scope="module", params=EACH)
def made(request, prepared):
    """A key, loaded into a signing lane that started after it was made."""
    kind, algorithm, scheme = request.param
    token, admin = prepared(kind)
    key_id, spki, birth = admin.generate(f"{algorithm}.{scheme}", 1, algorithm, scheme)
    with token.lane("sign") as sign:
        sign.load(key_id, spki, algorithm, scheme)
        yield sign, key_id, spki, birth, algorithm, scheme


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
