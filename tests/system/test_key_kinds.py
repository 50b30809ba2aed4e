"""Every algorithm with every scheme, from the creation of the key to the verified signature and its record. openssl and ssh-keygen are the judges."""
import base64
import hashlib
import json
import time

import pytest

from apitest import new_source, refused
from kms import BIN, Instance, pae, run, sha256
from load import Threads

SCHEMES = {
    "statement": ("p256", "p384", "rsa-3072", "rsa-4096", "ed25519"),
    "digest": ("p256", "p384", "rsa-2048", "rsa-3072", "rsa-4096"),
    "digest-pkcs1": ("rsa-2048", "rsa-3072", "rsa-4096"),
}
PAIRS = [(algorithm, scheme) for scheme, algorithms in SCHEMES.items() for algorithm in algorithms]
ALGORITHMS = sorted({algorithm for algorithm, _ in PAIRS})
NO_PAIRS = [(algorithm, scheme) for scheme in SCHEMES for algorithm in ALGORITHMS if (algorithm, scheme) not in PAIRS]
POLICY = """\
version: 1
roles:
  administrator:
    - name: administer
      allow: [key.list, key.read, key.create, policy.read, policy.check, policy.apply, identity.list, identity.read,
              identity.create, identity.disable, identity.enable, release.withdraw, status.read, time.confirm]
  ci:
    - {name: sign-any, allow: [sign], keys: ['*'], apps: ['*'], channels: ['*']}
    - {name: sign-digests, allow: [sign.digest], keys: [%s], apps: ['com.example.*'], channels: ['*']}
grants:
  - {role: administrator, to: [founders]}
  - {role: ci, to: ['kind:ci']}
"""


def name_of(algorithm, scheme):
    return f"{algorithm}.{scheme}"


def hash_of(algorithm):
    return "sha384" if algorithm == "p384" else "sha256"


def make_key(kms, name, algorithm, scheme):
    """Creates a key, however long it takes; returns the last answer."""
    answer = kms.signed("POST", "/v1/keys", {"name": name, "algorithm": algorithm, "scheme": scheme})
    if answer.status != 202:
        return answer
    path = answer.headers["location"]
    while (shown := kms.request("admin", "GET", path)).json["state"] == "running":
        time.sleep(0.1)
    assert shown.json["state"] == "done", shown
    return shown


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """An instance with a key of each kind."""
    with Instance(tmp_path_factory.mktemp("kinds") / "dir") as kms:
        digest_keys = ", ".join(name_of(*pair) for pair in PAIRS if pair[1] != "statement")
        answer = kms.signed("PUT", "/v1/policy", POLICY % digest_keys, {"Content-Type": "application/yaml"})
        assert answer.status == 200, answer
        for pair in PAIRS:
            make_key(kms, name_of(*pair), *pair)
        yield kms


def public_key(kms, name, directory):
    path = directory / "public.pem"
    path.write_text(kms.request("ci", "GET", f"/v1/keys/{name}", cert=kms.admin).json["public_key"])
    return path


def judge(algorithm, scheme, public, signed, signature, directory):
    """Does openssl verify it? signed: the bytes for a statement, else the digest."""
    (directory / "signed").write_bytes(signed)
    (directory / "signature").write_bytes(signature)
    options = ["-rawin"] if algorithm == "ed25519" else []
    if scheme == "statement" and algorithm != "ed25519":
        (directory / "signed").write_bytes(hashlib.new(hash_of(algorithm), signed).digest())
    if algorithm.startswith("rsa"):
        options += ["-pkeyopt", "digest:sha256", "-pkeyopt", f"rsa_padding_mode:{'pkcs1' if scheme == 'digest-pkcs1' else 'pss'}"]
        options += [] if scheme == "digest-pkcs1" else ["-pkeyopt", "rsa_pss_saltlen:digest"]
    done = run("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-in", directory / "signed", "-sigfile", directory / "signature", *options,
               check=False)
    assert (b"Verified Successfully" in done.stdout) == (done.returncode == 0)
    return done.returncode == 0


def refused_sign(kms, body, status, slug):
    refused(kms, kms.request("ci", "POST", "/v1/sign", body, source=new_source()), status, slug, "sign.release")


def request_for(algorithm, scheme, data, app, version="1.0.0", **members):
    hashed = "sha256" if scheme == "statement" else hash_of(algorithm)
    return {"key": name_of(algorithm, scheme), "app": app, "channel": "stable", "version": version, "name": "image.bin",
            "digest": {"alg": hashed, "hex": hashlib.new(hashed, data).hexdigest()}, **members}


def test_all_kinds_in_one_batch(kinds):
    """Items of a batch may name any keys; each is answered as its key's kind answers."""
    items = [request_for(*pair, b"batch", f"com.example.batch-{n}") for n, pair in enumerate(PAIRS)]
    answer = kinds.request("ci", "POST", "/v1/sign", {"items": items}, {"Idempotency-Key": "kinds"})
    assert answer.status == 200 and answer.json["failed"] == 0, answer
    for pair, asked, got in zip(PAIRS, items, answer.json["items"]):
        assert (got["key"], got["scheme"]) == (name_of(*pair), pair[1])
        assert "envelope" in got if pair[1] == "statement" else got["digest"] == asked["digest"]
    assert kinds.request("ci", "POST", "/v1/sign", {"items": items}, {"Idempotency-Key": "kinds"}).body == answer.body


@pytest.mark.parametrize("algorithm, scheme", PAIRS)
def test_signs(kinds, algorithm, scheme, tmp_path):
    data = f"{algorithm} {scheme}".encode()
    answer = kinds.request("ci", "POST", "/v1/sign", request_for(algorithm, scheme, data, f"com.example.{algorithm}.{scheme}"))
    assert answer.status == 200 and answer.json["scheme"] == scheme, answer
    public = public_key(kinds, name_of(algorithm, scheme), tmp_path)
    record = kinds.record_of(answer)
    if scheme == "statement":
        assert record["event"] == "sign.release"
        envelope = answer.json["envelope"]
        signed, signature = pae(base64.b64decode(envelope["payload"])), base64.b64decode(envelope["signatures"][0]["sig"])
        other = pae(base64.b64decode(envelope["payload"]).replace(b"stable", b"staple"))
    else:
        assert record["event"] == "sign.digest" and set(record["detail"]) == {"name"}
        signed, signature = hashlib.new(hash_of(algorithm), data).digest(), base64.b64decode(answer.json["signature"])
        other = hashlib.new(hash_of(algorithm), data + b".").digest()
        assert answer.json["digest"] == record["digest"] == {"alg": hash_of(algorithm), "hex": signed.hex()}
        assert ("signature_raw" in answer.json) == algorithm.startswith("p")
    assert base64.b64decode(record["signature"]) == signature
    assert record["rule"] == ("ci/sign-any" if scheme == "statement" else "ci/sign-digests")
    assert judge(algorithm, scheme, public, signed, signature, tmp_path)
    assert not judge(algorithm, scheme, public, other, signature, tmp_path)


@pytest.mark.parametrize("algorithm, half", [("p256", 32), ("p384", 48)])
def test_both_forms_of_ecdsa(kinds, algorithm, half, tmp_path):
    """r and s are those of the DER form, each as long as the order of the curve."""
    for number in range(20):
        answer = kinds.request("ci", "POST", "/v1/sign", request_for(algorithm, "digest", b"%d" % number, f"com.example.forms.{algorithm}.n{number}"))
        raw, der = base64.b64decode(answer.json["signature_raw"]), base64.b64decode(answer.json["signature"])
        assert len(raw) == 2 * half
        parsed = run("openssl", "asn1parse", "-inform", "DER", stdin=der).stdout.decode()
        numbers = [int(line.rpartition(":")[2], 16) for line in parsed.splitlines() if "INTEGER" in line]
        assert numbers == [int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")]


@pytest.mark.parametrize("algorithm, scheme", PAIRS)
def test_other_digests(kinds, algorithm, scheme):
    """Each hash and each length that the key does not take is refused with a slug of its own, and nothing is signed."""
    good = request_for(algorithm, scheme, b"data", f"com.example.wrong.{algorithm}.{scheme}")
    for alg, length in (("sha256", 32), ("sha384", 48), ("sha512", 64), ("sha1", 20)):
        if alg != good["digest"]["alg"]:
            refused_sign(kinds, {**good, "digest": {"alg": alg, "hex": "ab" * length}}, 400, "bad-digest")
    for digits in (0, 2, 40, 62, 63, 64, 65, 66, 95, 96, 97, 128, 1024):
        if digits != len(good["digest"]["hex"]):
            refused_sign(kinds, {**good, "digest": {"alg": good["digest"]["alg"], "hex": "a" * digits}}, 400, "bad-digest")


@pytest.mark.parametrize("algorithm, scheme", NO_PAIRS + [("p521", "statement"), ("p256", "pkcs1"), ("rsa-1024", "digest"), ("", "digest"), ("P256", "digest")])
def test_no_such_key(kinds, algorithm, scheme):
    answer = kinds.signed("POST", "/v1/keys", {"name": "never", "algorithm": algorithm, "scheme": scheme}, source=new_source())
    refused(kinds, answer, 400, "bad-request", "key.create")
    assert kinds.request("admin", "GET", "/v1/keys/never").status == 404


def test_digests_are_a_right_of_their_own(kinds):
    """The right to sign statements with every key is none to sign digests, and the refusal does not tell the kinds of keys apart."""
    make_key(kinds, "unnamed-digest", "p256", "digest")
    bodies = [request_for("p256", "digest", b"x", "com.example.rights", key="unnamed-digest"), request_for("p256", "digest", b"x", "org.example.rights")]
    for answer in [kinds.request("ci", "POST", "/v1/sign", body, source=new_source()) for body in bodies]:
        refused(kinds, answer, 403, "forbidden", "sign.release")
        assert "sign.digest" not in answer.json["detail"]


def test_repetitions_and_versions(kinds):
    """Digest keys have part in the order of versions, in stored answers and Idempotency-Keys as statements do."""
    app = "com.example.order"
    first = kinds.request("ci", "POST", "/v1/sign", request_for("p384", "digest", b"1", app, "2.0.0"), {"Idempotency-Key": "digest-1"})
    again = kinds.request("ci", "POST", "/v1/sign", request_for("p384", "digest", b"1", app, "2.0.0"), {"Idempotency-Key": "digest-1"})
    stored = kinds.request("ci", "POST", "/v1/sign", request_for("p384", "digest", b"1", app, "2.0.0"))
    assert first.status == 200 and first.json == again.json == stored.json
    refused_sign(kinds, request_for("p384", "digest", b"2", app, "2.0.0"), 409, "digest-conflict")
    refused_sign(kinds, request_for("p384", "digest", b"2", app, "1.9.0"), 409, "version-not-newer")
    other_key = request_for("p384", "digest", b"1", app, "2.0.0", key=name_of("p256", "statement"), digest={"alg": "sha256", "hex": sha256(b"1")})
    refused_sign(kinds, other_key, 409, "already-exists")  # never the signature of another key than the one that was asked for
    own_name = kinds.request("ci", "POST", "/v1/sign", {**other_key, "name": "image.json"})
    assert own_name.status == 200 and own_name.json["key"] == name_of("p256", "statement")
    dry = kinds.request("ci", "POST", "/v1/sign", request_for("p384", "digest", b"3", app, "2.1.0", dry_run=True))
    assert dry.status == 200 and dry.json["rule"] == "ci/sign-digests"


@pytest.mark.parametrize("algorithm, kty", [("p256", "EC"), ("p384", "EC"), ("rsa-2048", "RSA"), ("rsa-4096", "RSA"), ("ed25519", "OKP")])
def test_public_forms(kinds, algorithm, kty, tmp_path):
    name = next(name_of(*pair) for pair in PAIRS if pair[0] == algorithm)
    jwk = kinds.request("admin", "GET", f"/v1/keys/{name}/public?format=jwk").json
    assert jwk["kty"] == kty
    (tmp_path / "key.pub").write_bytes(kinds.request("admin", "GET", f"/v1/keys/{name}/public?format=ssh").body)
    pem = kinds.request("admin", "GET", f"/v1/keys/{name}/public").body
    assert run("ssh-keygen", "-l", "-f", tmp_path / "key.pub").returncode == 0
    if kty != "OKP":  # ssh-keygen writes no PKCS#8 of Ed25519
        assert run("ssh-keygen", "-e", "-m", "PKCS8", "-f", tmp_path / "key.pub").stdout == pem


def test_kmsctl_signs_digests(kinds, tmp_path):
    image = tmp_path / "image.bin"
    image.write_bytes(b"firmware")
    env = {**kinds.ci_env, "KMS_APP": "com.example.ctl", "KMS_CHANNEL": "stable"}
    for algorithm, scheme, options in (("p384", "digest", ["--hash", "sha384"]), ("rsa-2048", "digest-pkcs1", []), ("p256", "digest", [])):
        app = ["--app", f"com.example.ctl.{algorithm}"]
        name = name_of(algorithm, scheme)
        told = json.loads(kinds.kmsctl("sign", image, "--version", "1.0.0", "--key", name, *app, *options, "--output", "json", env=env).stdout)
        assert told["scheme"] == scheme and told["signature_file"] == f"{image}.sig"
        signature = (tmp_path / "image.bin.sig").read_bytes()
        public = public_key(kinds, name, tmp_path)
        assert judge(algorithm, scheme, public, hashlib.new(hash_of(algorithm), b"firmware").digest(), signature, tmp_path)
    raw = kinds.kmsctl("sign", image, "--version", "1.0.0", "--key", "p256.digest", "--app", "com.example.ctl.p256", "--raw", "--output-file", "-", env=env)
    assert len(raw.stdout) == 64
    wrong = kinds.kmsctl("sign", image, "--version", "1.0.1", "--key", "p384.digest", "--app", "com.example.ctl.p384", env=env, check=False)
    assert wrong.returncode == 1 and b"p384.digest takes sha384" in wrong.stderr
    assert kinds.kmsctl("sign", "--digest", "sha384:" + "a" * 64, "--name", "x", "--version", "1.0.1", env=env, check=False).returncode == 2
    raw = kinds.kmsctl("sign", image, "--version", "1.0.1", "--key", "rsa-2048.digest-pkcs1", "--app", "com.example.ctl.rsa-2048", "--raw", env=env, check=False)
    assert raw.returncode == 2 and b"--raw is for ECDSA" in raw.stderr


def test_rsa_generation_delays_no_signature(kinds):
    """While the administrative lane makes RSA keys, signatures are made as before; what takes long is answered 202 and then told."""
    slowest, done = [0.0], [0]

    def sign(_):
        with kinds.connect("ci") as connection:
            while not busy.stopped.is_set():
                since = time.monotonic()
                answer = connection.request("POST", "/v1/sign", request_for("p256", "statement", b"x", f"com.example.busy.n{done[0]}"))
                assert answer.status == 200, answer
                slowest[0] = max(slowest[0], time.monotonic() - since)
                done[0] += 1

    busy = Threads(1, sign)
    with busy:
        accepted = [kinds.signed("POST", "/v1/keys", {"name": f"long-{n}", "algorithm": "rsa-4096", "scheme": "digest"}) for n in range(3)]
        for n, answer in enumerate(accepted):
            assert answer.status in (201, 202), answer
            while answer.status == 202 and kinds.request("admin", "GET", answer.headers["location"]).json["state"] == "running":
                time.sleep(0.05)
            assert kinds.request("admin", "GET", f"/v1/keys/long-{n}").json["algorithm"] == "rsa-4096"
    assert done[0] > 20 and slowest[0] < 1, (done, slowest)


def test_operations_end(kinds):
    made = json.loads(kinds.kmsctl("key", "create", "by-ctl", "--algorithm", "rsa-4096", "--scheme", "digest-pkcs1", "--output", "json", env=kinds.env).stdout)
    assert made["key"]["state"] == "active" if "key" in made else made["state"] == "active"
    assert kinds.request("admin", "GET", "/v1/operations/" + "0" * 32).status == 404
    refused(kinds, kinds.request("admin", "GET", "/v1/operations/" + "0" * 32, cert=kinds.ci, source=new_source()), 403, "forbidden", "read.api")


def test_all_of_it_stands_in_the_log(kinds):
    """The last test: a restart knows all keys, and kms-audit agrees with every signature."""
    kinds.stop()
    kinds.start()
    for pair in PAIRS:
        answer = kinds.request("ci", "POST", "/v1/sign", request_for(*pair, b"after", f"com.example.after.{pair[0]}.{pair[1]}"))
        assert answer.status == 200, (pair, answer)
    kinds.check_chain()
    report = run(BIN / "kms-audit", "verify", kinds.dir)
    assert b"sound" in report.stdout, report.stdout
    signatures = [record for record in kinds.records(outcome="ok") if record["event"].startswith("sign.")]
    assert {record["scheme"] for record in signatures} == set(SCHEMES) and len(signatures) > 2 * len(PAIRS)
