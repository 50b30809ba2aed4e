"""kmsd-token by itself: --setup in a fresh directory, then its verbs over a socket pair, judged by openssl and pkcs11-tool."""
import base64
import datetime
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from lane import BUG, HUMAN, INPUT, KEY, PROGRAM, STATEMENT, TOKEN, VERIFY, Lane, frame, openssl, pae
from tokens import SOFTHSM, Shim, build_modules, settings_text

SPY = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"


def csr(directory, name, *key_options):
    """A key and a PEM signing request whose subject and extensions must not reach the certificate."""
    options = key_options or ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    openssl("req", "-new", "-nodes", *options, "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.csr",
            "-subj", "/CN=somebody else/O=Evil", "-addext", "subjectAltName=DNS:evil.example", "-addext", "basicConstraints=critical,CA:TRUE")
    return directory / f"{name}.csr"


def to_der(path, kind="req"):
    return openssl(kind, "-in", path, "-outform", "DER")


def setup_command(directory, *more):
    return [PROGRAM, "--settings", str(directory / "kmsd.yaml"), "--setup", "--origin", "test.example", *map(str, more)]


def make_instance(directory):
    (directory / "kmsd.yaml").write_text(settings_text(SOFTHSM))
    request = csr(directory, "admin")
    argv = setup_command(directory, "--admin-csr", request, "--admin-out", directory / "admin.pem")
    out = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert out.stdout.count("\n") == 1
    made = json.loads(out.stdout)
    assert out.stdout == json.dumps(made, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    return made


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    directory = tmp_path_factory.mktemp("kmsd")
    return directory, make_instance(directory)


@pytest.fixture()
def fresh(tmp_path):
    return tmp_path, make_instance(tmp_path)


@pytest.fixture()
def admin(instance):
    with Lane(instance[0], "admin") as lane:
        yield lane


@pytest.fixture()
def sign(instance):
    with Lane(instance[0], "sign") as lane:
        yield lane


def verify(tmp_path, spki, message, signature):
    (tmp_path / "pub.der").write_bytes(spki)
    (tmp_path / "sig").write_bytes(signature)
    (tmp_path / "message").write_bytes(message)
    openssl("pkey", "-pubin", "-inform", "DER", "-in", tmp_path / "pub.der", "-pubout", "-out", tmp_path / "pub.pem")
    assert openssl("dgst", "-sha256", "-verify", tmp_path / "pub.pem", "-signature", tmp_path / "sig", tmp_path / "message") == b"Verified OK\n"


# --setup

def test_setup_files(instance):
    directory, made = instance
    for name in ("pin-keys", "pin-checkpoint", "tls/server.key", "tokens/keys/softhsm2.conf"):
        assert (directory / name).stat().st_mode & 0o777 == 0o600, name
    pins = [(directory / name).read_text() for name in ("pin-keys", "pin-checkpoint")]
    assert pins[0] != pins[1] and all(re.fullmatch(r"[A-Za-z0-9]{20,}\n", pin) for pin in pins)
    assert set(made) == {"admin_cert_b64", "ca", "checkpoint", "tokens"}
    assert made["tokens"]["keys"]["label"] == "kmsd-keys" and made["tokens"]["checkpoint"]["label"] == "kmsd-checkpoint"
    assert made["tokens"]["keys"]["module_sha256"] == hashlib.sha256(Path(SOFTHSM).read_bytes()).hexdigest()
    assert made["ca"]["birth"]["allowed_mechanisms"] == ["CKM_ECDSA"] and made["checkpoint"]["birth"]["allowed_mechanisms"] == ["CKM_EDDSA"]


def test_setup_certificates(instance):
    directory, made = instance
    ca, server = directory / "tls/ca.pem", directory / "tls/server.pem"
    assert to_der(ca, "x509") == base64.b64decode(made["ca"]["cert_b64"])
    spki = base64.b64decode(made["ca"]["spki_b64"])
    assert openssl("x509", "-in", ca, "-noout", "-pubkey") == openssl("pkey", "-pubin", "-inform", "DER", data=spki)
    text = openssl("x509", "-in", ca, "-noout", "-text").decode()
    assert "CN = kmsd CA test.example" in text and "CA:TRUE, pathlen:0" in text and "Certificate Sign, CRL Sign" in text
    openssl("verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslserver", "-verify_ip", "127.0.0.1", server)
    openssl("verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslserver", "-verify_hostname", "localhost", server)
    openssl("verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslserver", "-verify_ip", "::1", server)
    openssl("verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslclient", directory / "admin.pem")
    assert openssl("pkey", "-in", directory / "tls/server.key", "-pubout") == openssl("x509", "-in", server, "-noout", "-pubkey")
    assert openssl("x509", "-in", directory / "admin.pem", "-noout", "-subject") == b"subject=CN = administrator\n"
    assert to_der(directory / "admin.pem", "x509") == base64.b64decode(made["admin_cert_b64"])


def test_setup_twice_is_refused(fresh):
    directory, _ = fresh
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name != "lock"}
    again = subprocess.run(setup_command(directory), capture_output=True, text=True, check=False)
    assert again.returncode == 1 and "exists already" in again.stderr and again.stdout == ""
    for name in ("tls/ca.pem", "tls/server.pem", "tls/server.key", "pin-keys", "pin-checkpoint"):
        (directory / name).unlink()
    again = subprocess.run(setup_command(directory), capture_output=True, text=True, check=False)
    assert again.returncode == 1 and "a token labelled kmsd-keys exists already" in again.stderr
    assert not (directory / "pin-keys").exists()
    assert {path: path.read_bytes() for path in before if path.exists()} == {path: data for path, data in before.items() if path.exists()}


def test_setup_looks_before_it_makes(tmp_path):
    (tmp_path / "kmsd.yaml").write_text(settings_text(SOFTHSM))
    (tmp_path / "bad.csr").write_text("no request\n")
    out = subprocess.run(setup_command(tmp_path, "--admin-csr", tmp_path / "bad.csr"), capture_output=True, text=True, check=False)
    assert out.returncode == 1 and "bad.csr" in out.stderr
    assert not (tmp_path / "pin-keys").exists() and not (tmp_path / "tls/ca.pem").exists()


@pytest.mark.parametrize("argv", [
    [], ["--lane", "sign"], ["--settings", "x"], ["--settings", "x", "--lane", "both"], ["--settings", "x", "--setup"],
    ["--settings", "x", "--lane", "sign", "--index", "-1"], ["--settings", "x", "--lane", "sign", "more"],
    ["--settings", "x", "--setup", "--origin", "o", "--admin-out", "y"]])
def test_usage(argv):
    out = subprocess.run([PROGRAM, *argv], capture_output=True, text=True, check=False)
    assert out.returncode == 2 and "usage:" in out.stderr


def test_unusable_settings(tmp_path):
    (tmp_path / "kmsd.yaml").write_text("version: 1\nnonsense: 2\n")
    argv = [PROGRAM, "--settings", str(tmp_path / "kmsd.yaml"), "--lane", "sign", "--index", "0"]
    out = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert out.returncode == 78 and "kmsd.yaml:" in out.stderr


# start, end

def test_hello_describes_the_token(admin, instance):
    assert admin.hello["type"] == "HELLO"
    assert json.loads(admin.hello["TOKEN"]) == instance[1]["tokens"]["keys"]


def test_end_of_file_ends_the_lane(instance):
    with Lane(instance[0], "sign") as lane:
        lane.ours.shutdown(socket.SHUT_WR)
        assert lane.process.wait(10) == 0


def test_frame_that_is_none(sign):
    sign.ours.sendall(b"\xff\xff\xff\xff" + b"x" * 20)
    assert sign.read() is None and sign.process.wait(10) == 1


def test_frame_for_somebody_else(sign):
    sign.send("REPLY", STATUS=200, REQUEST_ID="x")
    assert sign.read() is None and sign.process.wait(10) == 1


def test_wrong_pin_is_tried_once(fresh, tmp_path):
    directory, _ = fresh
    (directory / "pin-keys").write_text("wrong-pin-wrong-pin-wrong\n")
    trace, env = tmp_path / "trace", {}
    if os.path.exists(SPY):
        (directory / "kmsd.yaml").write_text(settings_text(SPY))
        env = {"PKCS11SPY": SOFTHSM, "PKCS11SPY_OUTPUT": str(trace)}
    with Lane(directory, "sign", wait=False, env=env) as lane:
        assert lane.process.wait(20) == 77
        assert lane.read() is None
        message = lane.err_text()
    assert "refused the PIN" in message and "pin-keys" in message and "wrong-pin" not in message
    assert message.count("call=C_Login") == 1
    if env:
        assert len(re.findall(r"^\d+: C_Login$", trace.read_text(errors="replace"), re.M)) == 1


def test_lax_pin_file_is_refused(fresh):
    directory, _ = fresh
    (directory / "pin-keys").chmod(0o644)
    with Lane(directory, "sign", wait=False) as lane:
        assert lane.process.wait(20) == 78
        assert "pin-keys" in lane.err_text()


def test_two_lanes_start_at_the_same_moment(instance):
    for _ in range(20):
        lanes = [Lane(instance[0], kind, wait=False) for kind in ("sign", "admin")]
        try:
            for lane in lanes:
                hello = lane.read()
                assert hello and hello["type"] == "HELLO", lane.err_text()
                lane.ok("PROBE")
        finally:
            for lane in lanes:
                lane.__exit__()


def test_lane_ends_with_its_parent(instance):
    ours, theirs = socket.socketpair()
    argv = [PROGRAM, "--settings", str(instance[0] / "kmsd.yaml"), "--lane", "sign", "--index", "0", "--parent"]
    pid = os.fork()
    if pid == 0:
        os.dup2(theirs.fileno(), 3)
        with subprocess.Popen([*argv, str(os.getpid())], close_fds=False):
            os.kill(os.getpid(), signal.SIGSTOP)
    theirs.close()
    ours.settimeout(20)
    assert ours.recv(1 << 16), "the lane says hello"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while ours.recv(1 << 16):
        pass
    ours.close()


# tokens chosen by URI, PINs from credentials

def choose(directory, chosen, pin="pin_file: pin-keys"):
    text = settings_text(SOFTHSM).replace("label: kmsd-keys", chosen).replace("pin_file: pin-keys", pin)
    (directory / "kmsd.yaml").write_text(text)


def test_token_chosen_by_uri(fresh):
    directory, made = fresh
    token = made["tokens"]["keys"]
    serial = token["serial"]
    for uri in ("pkcs11:token=kmsd-keys", f"pkcs11:serial={serial}", f"pkcs11:token=kmsd-keys;serial={serial};manufacturer=SoftHSM%20project;model=SoftHSM%20v2",
                "pkcs11:token=kmsd%2dkeys;library-manufacturer=SoftHSM", f"pkcs11:slot-id={int(serial, 16) & 0x7fffffff}",
                f"pkcs11:token=kmsd-keys?module-path={SOFTHSM}"):
        choose(directory, f"uri: '{uri}'")
        with Lane(directory, "admin") as lane:
            assert json.loads(lane.hello["TOKEN"]) == token
            lane.ok("PROBE")


@pytest.mark.parametrize("uri", ["pkcs11:token=other", "pkcs11:token=kmsd-keys;serial=0000", "pkcs11:token=kmsd-keys;model=other", "pkcs11:slot-id=7",
                                 "pkcs11:token=kmsd-keys;library-manufacturer=other"])
def test_uri_of_a_token_that_is_not_there(fresh, uri):
    directory, _ = fresh
    choose(directory, f"uri: '{uri}'")
    with Lane(directory, "sign", wait=False) as lane:
        away = lane.read()
        assert away["type"] == "AWAY" and b"0 tokens fit" in away["REASON"]


@pytest.mark.parametrize("uri,words", [
    ("pkcs11:", "must have token, serial or slot-id"), ("pkcs11:model=SoftHSM%20v2", "must have token, serial"), ("pkcs11:token=a;colour=red", "not known"),
    ("pkcs11:token=a;object=b", "not an object"), ("pkcs11:token=%zz", "is no PKCS#11 URI"), ("pkcs11:token=a?module-path=/lib/x.so", "module-path"),
    ("pkcs11:token=a?module-name=softhsm", "module-name")])
def test_unusable_uri(fresh, uri, words):
    directory, _ = fresh
    choose(directory, f"uri: '{uri}'")
    with Lane(directory, "sign", wait=False) as lane:
        assert lane.process.wait(20) == 78 and lane.read() is None
        said = lane.err_text()
    assert "kmsd.yaml:9:10" in said and words in said, said


def test_pin_from_a_credential(fresh, tmp_path):
    directory, _ = fresh
    store = tmp_path / "credentials"
    store.mkdir()
    (directory / "pin-keys").rename(store / "kmsd.pin")
    choose(directory, "label: kmsd-keys", "pin_credential: kmsd.pin")
    with Lane(directory, "sign", env={"CREDENTIALS_DIRECTORY": str(store)}) as lane:
        lane.ok("PROBE")
    with Lane(directory, "sign", wait=False) as lane:
        assert lane.process.wait(20) == 78 and "LoadCredential=kmsd.pin" in lane.err_text()
    (store / "kmsd.pin").chmod(0o604)
    with Lane(directory, "sign", wait=False, env={"CREDENTIALS_DIRECTORY": str(store)}) as lane:
        assert lane.process.wait(20) == 78 and "chmod 0600" in lane.err_text()


# verbs

def test_generate_load_sign(admin, sign, tmp_path):
    key_id, spki, birth = admin.generate("app", 1)
    token = birth.pop("token")
    assert token["label"] == "kmsd-keys"
    assert birth == {
        "always_sensitive": True, "allowed_mechanisms": ["CKM_ECDSA"], "copyable": False, "derive": False, "decrypt": False, "extractable": False,
        "local": True, "mechanism_generate": "CKM_EC_KEY_PAIR_GEN", "modifiable": False, "never_extractable": True, "private": True, "probe": "ok",
        "sensitive": True, "sign": True, "sign_recover": False, "unwrap": False, "not_enforced": []}
    sign.load(key_id, spki)
    sign.load(key_id, spki)
    for _ in range(50):
        signature = sign.ok("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)["OUTPUT"]
        verify(tmp_path, spki, STATEMENT, signature)


def test_batch_is_answered_in_order(admin, sign, tmp_path):
    key_id, spki, _ = admin.generate("batch", 1)
    sign.load(key_id, spki)
    inputs = [pae(b'{"n":%d}' % n) for n in range(256)]
    fields = [{"KEY_ID": key_id, "SCHEME": "statement", "INPUT": data} for data in inputs]
    sign.ours.sendall(b"".join(frame("SIGN", 1000 + n, f) for n, f in enumerate(fields)))
    answers = [sign.read() for _ in inputs]
    assert [a["id"] for a in answers] == [1000 + n for n in range(256)]
    for n in (0, 100, 255):
        verify(tmp_path, spki, inputs[n], answers[n]["OUTPUT"])


def test_frame_in_pieces(sign):
    whole = frame("UNLOAD", 7, {"KEY_ID": bytes(16)})
    for at in range(len(whole)):
        sign.ours.sendall(whole[at:at + 1])
        time.sleep(0.001)
    assert sign.read() == {"type": "RESULT", "id": 7}


@pytest.mark.parametrize("data", [
    b"", b"x", b"0" * 32, b"{}", STATEMENT[:-1], STATEMENT + b"\n", STATEMENT + b"}", STATEMENT.replace(b"DSSEv1", b"DSSEv2"),
    STATEMENT.replace(b"28", b"29"), STATEMENT.replace(b"in-toto", b"in-tata"),
    pae(b""), pae(b"{"), pae(b"[]"), pae(b'"{}"'), pae(b"{} "), pae(b" {}"),
    b"DSSEv1 28 application/vnd.in-toto+json 02 {}", b"DSSEv1 28 application/vnd.in-toto+json +2 {}", b"DSSEv1 28 application/vnd.in-toto+json  2 {}",
    b"DSSEv1 28 application/vnd.in-toto+json 2{}", b"DSSEv1 28 application/vnd.in-toto+json 3 {}",
    b"DSSEv1 28 application/vnd.in-toto+json 18446744073709551618 {}",
    b"DSSEv1 28 application/vnd.in-toto+json 2 ", b"DSSEv1 28 application/vnd.in-toto+json ", b"DSSEv1 28 application/vnd.in-toto+json 0 "])
def test_wrong_shapes_are_refused(shape_lane, data):
    lane, key_id = shape_lane
    lane.refused(INPUT, "SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=data)


@pytest.fixture(scope="module")
def shape_lane(instance):
    with Lane(instance[0], "admin") as lane:
        key_id, spki, _ = lane.generate("shape", 1)
    with Lane(instance[0], "sign") as lane:
        lane.load(key_id, spki)
        yield lane, key_id


def test_shape_lane_still_signs(shape_lane):
    lane, key_id = shape_lane
    lane.ok("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=pae(b"{}"))
    lane.refused(INPUT, "SIGN", KEY_ID=key_id, SCHEME="digest", INPUT=STATEMENT)


def test_signing_lane_serves_release_keys_only(instance, admin, sign):
    ca = instance[1]["ca"]
    ca_id, ca_spki = bytes.fromhex(ca["key_id"]), base64.b64decode(ca["spki_b64"])
    key_id, spki, _ = admin.generate("walls", 1)
    load = {"ALGORITHM": "p256", "SCHEME": "statement"}
    sign.refused(KEY, "LOAD", KEY_ID=ca_id, SPKI=ca_spki, **load)
    sign.refused(KEY, "SIGN", KEY_ID=ca_id, SCHEME="statement", INPUT=STATEMENT)
    sign.refused(KEY, "SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)
    sign.refused(KEY, "LOAD", KEY_ID=secrets.token_bytes(16), SPKI=spki, **load)
    sign.refused(KEY, "LOAD", KEY_ID=b"", SPKI=spki, **load)
    sign.refused(KEY, "LOAD", KEY_ID=key_id, SPKI=ca_spki, **load)
    sign.refused(KEY, "LOAD", KEY_ID=key_id, SPKI=spki[:-1], **load)
    sign.refused(KEY, "LOAD", KEY_ID=key_id, SPKI=spki + b"\0", **load)
    for algorithm, scheme in (("p384", "statement"), ("ed25519", "statement"), ("rsa-4096", "statement"), ("p256", "digest")):
        sign.refused(KEY, "LOAD", KEY_ID=key_id, SPKI=spki, ALGORITHM=algorithm, SCHEME=scheme)
    for algorithm, scheme in (("p256", "digest-pkcs1"), ("rsa-2048", "statement"), ("p521", "statement"), ("p256", ""), ("", "statement")):
        sign.refused(INPUT, "LOAD", KEY_ID=key_id, SPKI=spki, ALGORITHM=algorithm, SCHEME=scheme)
    sign.load(key_id, spki)


def test_verbs_of_the_other_lane(admin, sign):
    sign.refused(INPUT, "GENERATE", KEY_ID=b"x" * 16, ALGORITHM="p256", SCHEME="statement", LABEL="kmsd:release:a:1")
    sign.refused(INPUT, "LIST")
    sign.refused(INPUT, "ISSUE", CSR=b"x", PROFILE=b"{}")
    admin.refused(INPUT, "SIGN", KEY_ID=b"x" * 16, SCHEME="statement", INPUT=STATEMENT)
    admin.refused(INPUT, "LOAD", KEY_ID=b"x" * 16, ALGORITHM="p256", SCHEME="statement", SPKI=b"x")


@pytest.mark.parametrize("label", [
    "kmsd:ca", "kmsd:checkpoint", "app", "kmsd:release:", "kmsd:release:app", "kmsd:release:app:", "kmsd:release:app:0", "kmsd:release:app:01",
    "kmsd:release:app:1x", "kmsd:release:App:1", "kmsd:release:.a:1", "kmsd:release::1", "kmsd:release:a:b:1", "kmsd:release:a:1:digest", "kmsd:release:" + "a" * 65 + ":1"])
def test_generate_makes_release_keys_only(admin, label):
    admin.refused(INPUT, "GENERATE", KEY_ID=secrets.token_bytes(16), ALGORITHM="p256", SCHEME="statement", LABEL=label)


def test_generate_refuses(admin, instance):
    good = {"KEY_ID": secrets.token_bytes(16), "ALGORITHM": "p256", "SCHEME": "statement", "LABEL": "kmsd:release:refuse:1"}
    admin.refused(INPUT, "GENERATE", **{**good, "KEY_ID": b"short"})
    admin.refused(INPUT, "GENERATE", **{**good, "ALGORITHM": "rsa-2048"})
    admin.refused(INPUT, "GENERATE", **{**good, "ALGORITHM": "ed448"})
    admin.refused(INPUT, "GENERATE", **{**good, "SCHEME": "digest-pkcs1"})
    admin.refused(INPUT, "GENERATE", **{**good, "SCHEME": "raw"})
    admin.refused(KEY, "GENERATE", **{**good, "KEY_ID": bytes.fromhex(instance[1]["ca"]["key_id"])})
    admin.ok("GENERATE", **good)
    admin.refused(KEY, "GENERATE", **good)


def test_list(admin, instance):
    key_id, _, _ = admin.generate("listed", 7)
    text = admin.ok("LIST")["OBJECTS"]
    listed = json.loads(text)
    assert text.decode() == json.dumps(listed, sort_keys=True, separators=(",", ":"))
    for kind in ("private-key", "public-key"):
        assert {"class": kind, "id": key_id.hex(), "label": "kmsd:release:listed:7", "type": "ec"} in listed
        assert {"class": kind, "id": instance[1]["ca"]["key_id"], "label": "kmsd:ca", "type": "ec"} in listed


def test_probe(sign):
    sign.ok("PROBE")


# certificates

def moment(days=0):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def profile(**changes):
    base = {"serial": "7" + secrets.token_hex(16)[1:], "cn": "ci-android", "kind": "ci", "not_before": moment(), "not_after": moment(90),
            "uri": ["kmsd://test.example/ci/ci-android"], "dns": [], "ip": []}
    return json.dumps({**base, **changes}, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("kind", ["ci", "service", "human"])
def test_issue_client(admin, instance, tmp_path, kind):
    directory, _ = instance
    request = csr(tmp_path, "client")
    asked = profile(kind=kind)
    (tmp_path / "cert.der").write_bytes(admin.ok("ISSUE", CSR=to_der(request), PROFILE=asked)["CERT"])
    openssl("x509", "-inform", "DER", "-in", tmp_path / "cert.der", "-out", tmp_path / "cert.pem")
    openssl("verify", "-x509_strict", "-CAfile", directory / "tls/ca.pem", "-purpose", "sslclient", tmp_path / "cert.pem")
    text = openssl("x509", "-in", tmp_path / "cert.pem", "-noout", "-text").decode()
    assert "Subject: CN = ci-android\n" in text and "Issuer: CN = kmsd CA test.example\n" in text
    assert "evil" not in text.lower() and "somebody" not in text and "CA:FALSE" in text and "TLS Web Client Authentication" in text
    assert "TLS Web Server Authentication" not in text and "URI:kmsd://test.example/ci/ci-android" in text
    assert openssl("x509", "-in", tmp_path / "cert.pem", "-noout", "-serial").decode().strip().lower() == "serial=" + json.loads(asked)["serial"]
    assert openssl("x509", "-in", tmp_path / "cert.pem", "-noout", "-pubkey") == openssl("pkey", "-in", tmp_path / "client.key", "-pubout")


def test_issue_server(admin, instance, tmp_path):
    request = csr(tmp_path, "server")
    asked = profile(kind="server", cn="kms.example", uri=[], dns=["kms.example"], ip=["10.0.0.1", "2001:db8::1"])
    cert = admin.ok("ISSUE", CSR=to_der(request), PROFILE=asked)["CERT"]
    (tmp_path / "cert.pem").write_bytes(openssl("x509", "-inform", "DER", data=cert))
    for option in (["-verify_hostname", "kms.example"], ["-verify_ip", "10.0.0.1"], ["-verify_ip", "2001:db8::1"]):
        openssl("verify", "-x509_strict", "-CAfile", instance[0] / "tls/ca.pem", "-purpose", "sslserver", *option, tmp_path / "cert.pem")


@pytest.mark.parametrize("changes", [
    {"kind": "ca"}, {"cn": ""}, {"cn": "a/CN=b"}, {"cn": "x" * 65}, {"serial": "00" * 16}, {"serial": "AB" * 16}, {"serial": "12"},
    {"not_after": moment(399)}, {"not_after": moment(-1)}, {"not_before": "2026-01-01"}, {"dns": ["a,IP:1.2.3.4"]}, {"uri": ["no-scheme"]},
    {"uri": ["a://b c"]}, {"ip": ["1.2.3"]}, {"dns": [1]}, {"uri": [f"a://{n}" for n in range(9)]}, {"ca": True}])
def test_issue_refuses_profiles(issue_lane, changes):
    lane, request = issue_lane
    lane.refused(INPUT, "ISSUE", CSR=request, PROFILE=profile(**changes))


@pytest.fixture(scope="module")
def issue_lane(instance, tmp_path_factory):
    with Lane(instance[0], "admin") as lane:
        yield lane, to_der(csr(tmp_path_factory.mktemp("csr"), "client"))


def test_issue_refuses_requests(issue_lane, tmp_path):
    lane, request = issue_lane
    broken = request[:-1] + bytes([request[-1] ^ 1])
    weak = to_der(csr(tmp_path, "weak", "-newkey", "rsa:1024"))
    for bad in (b"", b"x", broken, request + b"\0", weak):
        lane.refused(INPUT, "ISSUE", CSR=bad, PROFILE=profile())
    lane.refused(INPUT, "ISSUE", CSR=request, PROFILE=b"")
    lane.ok("ISSUE", CSR=to_der(csr(tmp_path, "ed", "-newkey", "ed25519")), PROFILE=profile())


def test_issue_without_its_certificate(fresh, tmp_path):
    directory, _ = fresh
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "k",
            "-out", directory / "tls/ca.pem", "-subj", "/CN=other")
    with Lane(directory, "admin") as lane:
        lane.refused(KEY, "ISSUE", CSR=to_der(csr(tmp_path, "client")), PROFILE=profile())
        lane.generate()


# what others see

def pkcs11_tool(directory, token, *args):
    pin = (directory / f"pin-{token}").read_text().strip()
    env = {**os.environ, "SOFTHSM2_CONF": str(directory / f"tokens/{token}/softhsm2.conf"), "TEST_PIN": pin}
    argv = ["pkcs11-tool", "--module", SOFTHSM, "--token-label", f"kmsd-{token}", "--login", "--pin", "env:TEST_PIN", *args]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("token,mechanism,keys", [("keys", "ECDSA", 2), ("checkpoint", "EDDSA", 1)])
def test_attributes_as_pkcs11_tool_shows_them(fresh, token, mechanism, keys):
    directory, _ = fresh
    with Lane(directory, "admin") as lane:
        lane.generate()
    shown = pkcs11_tool(directory, token, "--list-objects", "--type", "privkey")
    assert shown.count("Private Key Object") == keys
    assert shown.count("Access:     sensitive, always sensitive, never extractable, local") == keys
    assert re.findall(r"Usage: +(.*)", shown) == ["sign"] * keys
    assert re.findall(r"Allowed mechanisms: +(.*)", shown) == [mechanism] * keys


def test_pin_is_nowhere_to_be_seen(fresh):
    directory, _ = fresh
    pins = [(directory / name).read_bytes().strip() for name in ("pin-keys", "pin-checkpoint")]
    with Lane(directory, "sign") as lane:
        for name in ("cmdline", "environ"):
            try:
                seen = Path(f"/proc/{lane.process.pid}/{name}").read_bytes()
            except PermissionError:
                continue
            assert not any(pin in seen for pin in pins)
        status = Path(f"/proc/{lane.process.pid}/status").read_text()
        assert re.search(r"^Threads:\s+1$", status, re.M)
        said = lane.err_text().encode()
    assert not any(pin in said for pin in pins)
    for path in directory.rglob("*"):
        if path.is_file() and not path.name.startswith("pin-"):
            assert not any(pin in path.read_bytes() for pin in pins), path


# a token that misbehaves

class Faulty:
    """An instance whose module fails as told: "FUNCTION RV TIMES" or "WORD 1 TIMES", a line each."""
    WORDS = {"logout": ("C_SignInit", "logout"), "wrong": ("C_Sign", "flip"), "extractable": ("C_GetAttributeValue", "set:0x162:1"),
             "modifiable": ("C_GetAttributeValue", "set:0x170:1"), "point": ("C_GetAttributeValue", "flip:0x181"),
             "locked": ("C_GetTokenInfo", "flags:0x40000"), "final": ("C_GetTokenInfo", "flags:0x20000"),
             "change": ("C_GetTokenInfo", "flags:0x80000"), "other": ("C_GetTokenInfo", "serial")}

    def __init__(self, directory):
        self.directory, self.shim = directory, Shim(directory, SOFTHSM)
        self.first, self.end = "C_Sign", 0
        (directory / "kmsd.yaml").write_text(settings_text(self.shim.module))

    def lane(self, kind, **options):
        return Lane(self.directory, kind, **options)

    def plan(self, text):
        rules = []
        for what, value, times in map(str.split, text.splitlines()):
            function, action = self.WORDS.get(what, (what, f"fail:{value}"))
            rules.append((function, int(times), action))
        if rules:
            self.first, self.end = rules[0][0], self.shim.faults(rules[0][0]) + rules[0][1]
        self.shim.set(*(f"{function} first:{times} {action}" for function, times, action in rules))

    def left(self):
        """How often the fault of the first line would still occur."""
        return self.end - self.shim.faults(self.first)

    def logins(self):
        return self.shim.calls("C_Login")


@pytest.fixture()
def faulty(fresh):
    build_modules()
    return Faulty(fresh[0])


@pytest.fixture()
def faulty_sign(faulty, tmp_path):
    with faulty.lane("admin") as lane:
        key_id, spki, _ = lane.generate()
    with faulty.lane("sign") as lane:
        lane.load(key_id, spki)
        yield lane, faulty, {"KEY_ID": key_id, "SCHEME": "statement", "INPUT": STATEMENT}, spki


@pytest.mark.parametrize("call,rv", [("C_SignInit", 0xB3), ("C_SignInit", 0xB0), ("C_SignInit", 0x90), ("C_Sign", 0x91), ("C_Sign", 0xB3),
                                     ("C_SignInit", 0x101), ("C_SignInit", 0x60), ("C_SignInit", 0x82), ("C_Sign", 0x101)])
def test_session_and_login_heal_once(faulty_sign, tmp_path, call, rv):
    lane, faulty, fields, spki = faulty_sign
    faulty.plan(f"{call} {rv} 1")
    verify(tmp_path, spki, STATEMENT, lane.ok("SIGN", **fields)["OUTPUT"])
    assert faulty.left() == 0
    lane.ok("SIGN", **fields)
    faulty.plan(f"{call} {rv} 9")
    lane.refused(TOKEN, "SIGN", **fields)
    assert faulty.left() == 7
    assert lane.read() is None and lane.process.wait(10) == 75


@pytest.mark.parametrize("rv", [0x30, 0x31, 0x32, 0xE0, 0xE1, 0x190, 0x05, 0x06, 0x02])
def test_token_gone_ends_the_lane(faulty_sign, rv):
    lane, faulty, fields, _ = faulty_sign
    faulty.plan(f"C_SignInit {rv} 9")
    lane.refused(TOKEN, "SIGN", **fields)
    assert faulty.left() == 8
    assert lane.read() is None and lane.process.wait(10) == 75


@pytest.mark.parametrize("call", ["C_SignInit", "C_Sign"])
def test_refused_call_is_not_repeated(faulty_sign, call):
    lane, faulty, fields, _ = faulty_sign
    faulty.plan(f"{call} {0x21} 9")
    lane.refused(BUG, "SIGN", **fields)
    assert faulty.left() == 8
    faulty.plan("")
    lane.ok("SIGN", **fields)


# The operation was open: whatever the module says but that the call was wrong, a fresh session gets one more try.
@pytest.mark.parametrize("rv,lane_class", [(0x05, TOKEN), (0x30, TOKEN), (0x32, TOKEN), (0x50, BUG), (0x150, BUG), (0x80000001, BUG)])
def test_failure_inside_an_operation_is_tried_again_once(faulty_sign, tmp_path, rv, lane_class):
    lane, faulty, fields, spki = faulty_sign
    faulty.plan(f"C_Sign {rv} 1")
    verify(tmp_path, spki, STATEMENT, lane.ok("SIGN", **fields)["OUTPUT"])
    faulty.plan(f"C_Sign {rv} 9")
    lane.refused(lane_class, "SIGN", **fields)
    assert faulty.left() == 7


def test_login_that_went_away_is_made_again(faulty_sign, tmp_path):
    lane, faulty, fields, spki = faulty_sign
    before = faulty.logins()
    faulty.plan("logout 1 1")
    verify(tmp_path, spki, STATEMENT, lane.ok("SIGN", **fields)["OUTPUT"])
    assert faulty.logins() == before + 1
    faulty.plan(f"C_SignInit {0x101} 1")
    lane.ok("SIGN", **fields)
    assert faulty.logins() == before + 1, "who is logged in already does not try the PIN again"


@pytest.mark.parametrize("plan,lane_class", [
    (f"C_GetTokenInfo {0xE0} 9", TOKEN), (f"C_GetTokenInfo {0x05} 9", TOKEN), (f"C_GetTokenInfo {0x21} 9", TOKEN), ("other 1 9", TOKEN),
    ("locked 1 9", HUMAN), ("final 1 9", HUMAN), ("change 1 9", HUMAN)])
def test_login_again_looks_before_it_spends_a_try(faulty_sign, plan, lane_class):
    lane, faulty, fields, _ = faulty_sign
    before = faulty.logins()
    faulty.plan(f"logout 1 1\n{plan}")
    lane.refused(lane_class, "SIGN", **fields)
    assert faulty.left() == 0 and faulty.logins() == before
    assert lane.read() is None


@pytest.mark.parametrize("rv,lane_class", [(0xA0, HUMAN), (0xA2, HUMAN), (0xA4, HUMAN), (0x102, TOKEN), (0x05, TOKEN)])
def test_login_again_is_tried_once(faulty_sign, rv, lane_class):
    lane, faulty, fields, _ = faulty_sign
    before = faulty.logins()
    faulty.plan(f"logout 1 1\nC_Login {rv} 9")
    lane.refused(lane_class, "SIGN", **fields)
    assert faulty.logins() == before + 1
    assert lane.read() is None


def test_key_is_compared_again_after_a_login(faulty_sign):
    lane, faulty, fields, _ = faulty_sign
    faulty.plan("logout 1 1\npoint 1 1")
    assert "OUTPUT" not in lane.refused(KEY, "SIGN", **fields)
    lane.ok("SIGN", **fields)


@pytest.mark.parametrize("count,logins", [(1, 2), (9, 2)])
def test_missing_pin_is_looked_at_twice_at_start(faulty, count, logins):
    faulty.plan(f"C_Login {0x102} {count}")
    with faulty.lane("sign", wait=False) as lane:
        hello = lane.read()
        if count == 1:
            assert hello["type"] == "HELLO"
        else:
            assert hello is None and lane.process.wait(20) == 77 and "no user PIN" in lane.err_text()
    assert faulty.logins() == logins


@pytest.mark.parametrize("loaded", [True, False])
def test_probe_notices_a_token_that_went_away_unused(fresh, tmp_path, loaded):
    directory, _ = fresh
    with Lane(directory, "admin") as lane:
        key_id, spki, _ = lane.generate()
        lane.ok("PROBE")
    for kind in ("sign", "admin"):
        with Lane(directory, kind) as lane:
            if loaded and kind == "sign":
                lane.load(key_id, spki)
            lane.ok("PROBE")
            (directory / "tokens/keys/store").rename(tmp_path / "away")
            lane.refused(TOKEN, "PROBE")
            assert lane.read() is None
            (tmp_path / "away").rename(directory / "tokens/keys/store")
    with Lane(directory, "sign") as lane:
        lane.load(key_id, spki)
        lane.ok("PROBE")


def test_probe_survives_the_login_of_another_process(fresh):
    """SoftHSM cuts the token's own file short while it logs in; who looks in that moment does not trust the file any more, but the keys work."""
    directory, _ = fresh
    with Lane(directory, "admin") as lane:
        key_id, spki, _ = lane.generate()
        file = next((directory / "tokens/keys/store").glob("*/token.object"))
        whole = file.read_bytes()
        with Lane(directory, "sign") as signer:
            signer.load(key_id, spki)
            file.write_bytes(b"")
            signer.ok("PROBE")
            lane.ok("PROBE")
            lane.ok("LIST")
            file.write_bytes(whole)
            signer.ok("PROBE")
            signer.ok("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)
            lane.ok("PROBE")


@pytest.mark.parametrize("rv", [0x32, 0xE0, 0xE1, 0x03])
def test_probe_believes_a_token_that_says_it_is_gone(faulty_sign, rv):
    lane, faulty, _, _ = faulty_sign
    faulty.plan(f"C_GetTokenInfo {rv} 1")
    lane.refused(TOKEN, "PROBE")


@pytest.mark.parametrize("verb", ["SIGN", "LOAD", "LIST"])
def test_token_that_went_away_is_no_missing_key(fresh, tmp_path, verb):
    directory, _ = fresh
    with Lane(directory, "admin") as lane:
        key_id, spki, _ = lane.generate()
    with Lane(directory, "admin" if verb == "LIST" else "sign") as lane:
        if verb != "LIST":
            lane.load(key_id, spki)
        (directory / "tokens/keys/store").rename(tmp_path / "away")
        if verb == "LIST":
            lane.refused(TOKEN, verb)
            return
        fields = {"SIGN": {"SCHEME": "statement", "INPUT": STATEMENT}, "LOAD": {"ALGORITHM": "p256", "SCHEME": "statement", "SPKI": spki}}[verb]
        lane.refused(TOKEN, verb, KEY_ID=key_id, **fields)
        assert lane.read() is None


@pytest.mark.parametrize("plan,lane_class", [("wrong 1 1", VERIFY), (f"C_Sign {0x21} 1", BUG), (f"C_SignInit {0x30} 1", TOKEN)])
def test_probe_signs_with_a_loaded_key(faulty_sign, plan, lane_class):
    lane, faulty, _, _ = faulty_sign
    faulty.plan(plan)
    lane.refused(lane_class, "PROBE")
    assert faulty.left() == 0


def test_probe_of_the_administrative_lane_signs_too(faulty):
    with faulty.lane("admin") as lane:
        faulty.plan("wrong 1 1")
        lane.refused(VERIFY, "PROBE")


def test_pin_refused_later_ends_the_lane(faulty_sign):
    lane, faulty, fields, _ = faulty_sign
    faulty.plan(f"C_SignInit {0xA4} 1")
    lane.refused(HUMAN, "SIGN", **fields)
    assert lane.read() is None and lane.process.wait(10) == 77


def test_wrong_signature_is_not_released(faulty_sign):
    lane, faulty, fields, _ = faulty_sign
    faulty.plan("wrong 1 1")
    assert "OUTPUT" not in lane.refused(VERIFY, "SIGN", **fields)
    lane.ok("SIGN", **fields)


def test_a_probe_heals_too(faulty_sign):
    lane, faulty, _, _ = faulty_sign
    faulty.plan(f"C_GenerateRandom {0xB3} 1")
    lane.ok("PROBE")
    assert faulty.left() == 0


@pytest.mark.parametrize("flag,words", [("locked", "is locked"), ("final", "one try left"), ("change", "must be changed")])
def test_pin_flags_are_looked_at_before_login(faulty, flag, words):
    faulty.plan(f"{flag} 1 99")
    with faulty.lane("sign", wait=False) as lane:
        assert lane.process.wait(20) == 77
        assert words in lane.err_text() and "C_Login" not in lane.err_text()


@pytest.mark.parametrize("plan", ["extractable 1 1", "modifiable 1 1", "wrong 1 1"])
def test_key_that_is_not_as_asked_is_not_kept(faulty, plan):
    with faulty.lane("admin") as lane:
        before = lane.ok("LIST")["OBJECTS"]
        faulty.plan(plan)
        fields = {"KEY_ID": secrets.token_bytes(16), "ALGORITHM": "p256", "SCHEME": "statement", "LABEL": "kmsd:release:bad:1"}
        assert lane.call("GENERATE", **fields)["type"] == "ERROR"
        assert lane.ok("LIST")["OBJECTS"] == before
        lane.generate("good")


# another kind of token: NSS softokn takes less of the template, and enforces less

NSS = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so"


@pytest.fixture()
def nss(tmp_path):
    """A directory whose keys are in an NSS database; settings(type) writes kmsd.yaml."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "db").mkdir()
    (tmp_path / "pin-keys").write_text("abcdefghijklmnopqrstuvwxyz\n")
    (tmp_path / "pin-keys").chmod(0o600)
    subprocess.run(["certutil", "-N", "-d", f"sql:{tmp_path}/db", "-f", str(tmp_path / "pin-keys")], check=True)
    start = f"configdir='sql:{tmp_path}/db' certPrefix='' keyPrefix='' secmod='secmod.db' flags= dbTokenDescription='kmsd-keys'"

    def settings(kind):
        text = settings_text(SOFTHSM)
        mine = f"    module: {NSS}\n    label: kmsd-keys\n    pin_file: pin-keys\n    type: {kind}\n    initialise: \"{start}\"\n"
        (tmp_path / "kmsd.yaml").write_text(text[:text.index("    module:")] + mine + text[text.index("  checkpoint:"):])
        return tmp_path
    return settings


def test_nss_says_what_it_does_not_enforce(nss, tmp_path):
    directory = nss("auto")
    with Lane(directory, "admin") as lane:
        key_id, spki, birth = lane.generate()
        lane.ok("PROBE")
    assert birth["not_enforced"] == ["allowed_mechanisms", "copyable", "extractable", "local", "mechanism_generate"]
    assert birth["never_extractable"] and birth["sensitive"] and not birth["modifiable"] and not birth["local"] and "copyable" not in birth
    with Lane(directory, "sign") as lane:
        lane.load(key_id, spki)
        verify(tmp_path, spki, STATEMENT, lane.ok("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)["OUTPUT"])
        lane.ok("PROBE")


@pytest.mark.parametrize("kind", ["softhsm", "tpm2", "generic"])
def test_undeclared_weakness_is_refused(nss, kind):
    directory = nss(kind)
    with Lane(directory, "admin") as lane:
        fields = {"KEY_ID": secrets.token_bytes(16), "ALGORITHM": "p256", "SCHEME": "statement", "LABEL": "kmsd:release:bad:1"}
        assert lane.call("GENERATE", **fields)["type"] == "ERROR"
    with Lane(directory, "admin") as lane:
        assert lane.ok("LIST")["OBJECTS"] == b"[]"
