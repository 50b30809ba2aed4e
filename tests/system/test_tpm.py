"""A real kmsd whose release keys live in a TPM (tpm2-pkcs11 over tpm2-abrmd over swtpm): the TPM is killed and comes back, again and again."""
import base64
import hashlib
import os
import signal
import time

import pytest

from kms import BIN, Instance, run
from lane import judged
from tokens import Missing, Tpm, wait_for

ROUNDS = int(os.environ.get("KMS_TPM_ROUNDS", "3"))


class RestartableTpm(Tpm):
    """The daemons under the token can be killed and started again; the TPM keeps its state."""

    def kill(self):
        for child in (self.children[0], self.children[2]):  # TPM, resource manager; the bus stays
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
            child.wait()
        (self.dir / "tpm.sock").unlink(missing_ok=True)
        (self.dir / "tpm.sock.ctrl").unlink(missing_ok=True)

    def again(self, clear):
        sock = self.dir / "tpm.sock"
        old = self.children
        self.start("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.dir / 'tpm-state'}", "--server", f"type=unixio,path={sock}",
                   "--ctrl", f"type=unixio,path={sock}.ctrl", "--flags", "not-need-init,startup-clear")
        wait_for(sock.exists, 10, "the TPM")
        self.start("tpm2-abrmd", "--session", f"--tcti=swtpm:path={sock}", *(["--allow-root"] if os.geteuid() == 0 else []))
        self.children = [old[3], old[1], old[4]]
        wait_for(lambda: self.run("tpm2_getrandom", "--hex", "4", check=False).returncode == 0, 10, "the resource manager")
        if clear:
            self.run("tpm2_dictionarylockout", "-c")


@pytest.fixture
def tpm(tmp_path):
    (tmp_path / "tpm").mkdir()
    try:
        token = RestartableTpm(tmp_path / "tpm")
    except Missing as why:
        pytest.skip(str(why))
    yield token
    token.close()


@pytest.fixture
def kms(tpm, tmp_path, monkeypatch):
    """An instance whose token of release keys is the TPM; CA and checkpoint key stay where the set-up made them."""
    instance = Instance(tmp_path / "dir")
    with instance:
        pass
    settings = instance.dir / "kmsd.yaml"
    lines, keys = [], False
    for line in settings.read_text().splitlines(True):
        keys = line.startswith("  keys:") or (keys and line.startswith("    "))
        if keys and line.strip().split(":")[0] in ("softhsm_conf", "sync"):
            continue
        lines.append(f"    module: '{tpm.module}'\n" if keys and "module:" in line else line)
    settings.write_text("".join(lines))
    (instance.dir / "pin-keys").write_text(tpm.pin + "\n")
    for name, value in tpm.env.items():
        monkeypatch.setenv(name, value)
    with instance:
        assert instance.signed("POST", "/v1/keys", {"name": "tpm", "algorithm": "p256", "scheme": "statement"}).status == 201
        policy = instance.request("admin", "GET", "/v1/policy").json["policy"]
        assert "keys: [release]" in policy
        assert instance.signed("PUT", "/v1/policy", policy.replace("keys: [release]", "keys: [release, tpm]"), {"Content-Type": "application/yaml"}).status == 200
        yield instance


def sign(kms, version):
    body = {**kms.release(version), "key": "tpm"}
    return kms.request("ci", "POST", "/v1/sign", body)


def attempts(kms):
    return (kms.dir / "kmsd.log").read_text().count("call=C_Login")


def test_tpm_killed_and_restarted(kms, tpm, capsys):
    kms.wait(lambda: sign(kms, "1.0.0").status == 200, 20, "a signature")
    took, core = [], kms.child("kmsd-core")
    for number in range(1, ROUNDS + 1):
        tpm.kill()
        kms.wait(lambda: (sign(kms, f"{number}.1.0").status, sign(kms, f"{number}.1.0").slug) == (503, "token-unavailable"), 10, "503")
        assert sign(kms, f"{number}.1.0").headers.get("retry-after") == "1"
        tpm.again(clear=True)
        back = time.monotonic()
        kms.wait(lambda: sign(kms, f"{number}.2.0").status == 200, 20, "a signature")
        took.append(time.monotonic() - back)
    with capsys.disabled():
        print(f"\nTPM killed and restarted {ROUNDS} times: signing again after {max(took):.2f} s (worst)")
    assert not (kms.dir / "tokens/sealed").exists()
    assert kms.child("kmsd-core") == core, "the core went on"
    run(BIN / "kms-audit", "verify", kms.dir)


def test_tpm_in_lockout_seals(kms, tpm):
    """Nobody clears the dictionary attack lockout: the TPM refuses the PIN, kmsd tries no other, and says so."""
    kms.wait(lambda: sign(kms, "1.0.0").status == 200, 20, "a signature")
    tpm.run("tpm2_dictionarylockout", "-s", "-n", "1", "-t", "3600", "-l", "3600")
    tpm.kill()
    kms.wait(lambda: sign(kms, "1.1.0").status == 503, 10, "503")
    tpm.again(clear=False)
    kms.wait(lambda: (kms.dir / "tokens/sealed").exists(), 30, "the latch")
    answer = sign(kms, "1.1.0")
    assert answer.status == 503 and "PIN" in answer.json["detail"], answer
    said = (kms.dir / "kmsd.log").read_text()
    assert "kmsd unseal" in said
    count = attempts(kms)
    time.sleep(1.5)
    assert attempts(kms) == count
    tpm.run("tpm2_dictionarylockout", "-c")
    run(BIN / "kmsd", "unseal", "--dir", kms.dir)
    kms.wait(lambda: sign(kms, "1.2.0").status == 200, 20, "a signature")


def made(kms, name, algorithm, scheme):
    """The last answer about the creation of a key: itself, or that of its operation."""
    answer = kms.signed("POST", "/v1/keys", {"name": name, "algorithm": algorithm, "scheme": scheme})
    if answer.status != 202:
        return answer
    shown = []
    kms.wait(lambda: shown.append(kms.request("admin", "GET", answer.headers["location"])) or shown[-1].json["state"] != "running", 60, "the operation")
    return shown[-1]


def test_keys_that_a_tpm_makes_and_does_not_make(kms, tmp_path):
    """RSA with PSS it does; what it does not is said to the caller, and the service goes on."""
    policy = kms.request("admin", "GET", "/v1/policy").json["policy"]
    rule = "    - {name: sign-pss, allow: [sign.digest], keys: [pss], apps: ['*'], channels: ['*']}\n"
    allowed = policy.replace("  example-ci:\n", "  example-ci:\n" + rule, 1)
    assert allowed != policy and kms.signed("PUT", "/v1/policy", allowed, {"Content-Type": "application/yaml"}).status == 200
    kms.wait(lambda: sign(kms, "1.0.0").status == 200, 20, "a signature")  # every lane is through its start
    kms.wait(lambda: kms.lanes_are("ready"), 20, "the lanes")
    for algorithm, scheme in (("ed25519", "statement"), ("rsa-4096", "statement"), ("rsa-2048", "digest-pkcs1")):
        answer = made(kms, f"no-{algorithm}", algorithm, scheme)
        assert (answer.status, answer.slug) == (409, "token-unable"), answer
    assert made(kms, "pss", "rsa-2048", "digest").status in (200, 201)
    digest = hashlib.sha256(b"another bundle").digest()
    body = {**kms.release("2.0.0"), "key": "pss", "digest": {"alg": "sha256", "hex": digest.hex()}}
    answers = []
    kms.wait(lambda: answers.append(kms.request("ci", "POST", "/v1/sign", body)) or answers[-1].status == 200, 20, "a digest signature")
    spki = base64.b64decode("".join(kms.request("admin", "GET", "/v1/keys/pss").json["public_key"].splitlines()[1:-1]))
    assert judged(tmp_path, spki, "rsa-2048", "digest", digest, base64.b64decode(answers[-1].json["signature"]))
    run(BIN / "kms-audit", "verify", kms.dir)
