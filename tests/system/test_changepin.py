"""kmsd change-pin: another PIN, and a working combination of token and file whenever it is killed."""
import os
import random
import signal
import subprocess
import time

import pytest

from kms import BIN, run

ROUNDS = int(os.environ.get("KMS_ROUNDS", "6"))


def change(kms, token="keys", check=True):
    return run(BIN / "kmsd", "change-pin", token, "--dir", kms.dir, check=check)


def pin(kms, token="keys"):
    return (kms.dir / f"pin-{token}").read_text()


def works(kms, token, text):
    """Does the token take that PIN? Asked with another program."""
    environment = {**os.environ, "SOFTHSM2_CONF": str(kms.dir / "tokens" / token / "softhsm2.conf"), "PIN": text.strip()}
    done = run("pkcs11-tool", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", f"kmsd-{token}", "--login", "--pin", "env:PIN", "--list-objects",
               env=environment, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("token", ["keys", "checkpoint"])
def test_change(stopped, token):
    kms, before = stopped, pin(stopped, token)
    said = change(kms, token)
    after = pin(kms, token)
    assert after != before and len(after.strip()) == 32 and os.stat(kms.dir / f"pin-{token}").st_mode & 0o777 == 0o600
    assert before.strip() not in (said.stdout + said.stderr).decode() and after.strip() not in (said.stdout + said.stderr).decode()
    assert works(kms, token, after) and not works(kms, token, before)
    assert not (kms.dir / f"pin-{token}.new").exists()
    with kms:
        assert kms.sign("1.0.1").status == 200


def test_not_while_it_runs(own_kms):
    before = pin(own_kms)
    done = change(own_kms, check=False)
    assert done.returncode == 1 and b"stop the service first" in done.stderr and pin(own_kms) == before
    assert own_kms.sign("1.0.0").status == 200


def test_usage_and_refusals(stopped):
    for words in ([], ["other", "--dir", stopped.dir], ["keys"], ["keys", "--dir", stopped.dir, "more"]):
        assert run(BIN / "kmsd", "change-pin", *words, check=False).returncode == 2
    (stopped.dir / "pin-keys").write_text("wrong-pin-of-somebody\n")
    done = change(stopped, check=False)
    assert done.returncode == 1 and b"nothing was changed" in done.stderr, done.stderr
    assert not (stopped.dir / "pin-keys.new").exists()


def test_interrupted_before_the_token(stopped):
    """The new PIN is written, the token has the old one: the service tries none, the next run goes on."""
    kms = stopped
    (kms.dir / "pin-keys.new").write_text("n" * 32 + "\n")
    (kms.dir / "pin-keys.new").chmod(0o600)
    done = run(BIN / "kmsd", "run", "--settings", kms.dir / "kmsd.yaml", "--allow-dev", check=False)
    assert done.returncode == 78 and b"change of the PIN" in done.stderr and not (kms.dir / "tokens/sealed").exists()
    assert b"interrupted" in run(BIN / "kmsd", "check", "--dir", kms.dir, check=False).stdout
    change(kms)
    assert pin(kms).strip() == "n" * 32 and works(kms, "keys", "n" * 32)
    with kms:
        assert kms.sign("1.0.1").status == 200


@pytest.mark.parametrize("part", ["", "n" * 20, "n" * 32])
def test_interrupted_while_the_file_was_written(stopped, part):
    (stopped.dir / "pin-keys.new").write_text(part)
    change(stopped)
    assert works(stopped, "keys", pin(stopped)) and pin(stopped).strip() != part


def test_interrupted_behind_the_token(stopped):
    """The token has the new one already."""
    kms, old = stopped, pin(stopped)
    change(kms)
    new = pin(kms)
    (kms.dir / "pin-keys.new").write_text(new)
    (kms.dir / "pin-keys.new").chmod(0o600)
    (kms.dir / "pin-keys").write_text(old)
    change(kms)
    assert pin(kms) == new and not (kms.dir / "pin-keys.new").exists()
    with kms:
        assert kms.sign("1.0.1").status == 200


def test_killed_at_any_moment(stopped):
    """However often and wherever: run again, it ends well; one of the two files has what the token takes."""
    kms, seen = stopped, {pin(stopped)}
    begun = time.monotonic()
    change(kms)
    whole = time.monotonic() - begun
    for _ in range(ROUNDS):
        process = subprocess.Popen([BIN / "kmsd", "change-pin", "keys", "--dir", kms.dir], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        time.sleep(random.uniform(0, whole))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        candidates = [text for name in ("pin-keys", "pin-keys.new") if (kms.dir / name).exists() and (text := (kms.dir / name).read_text())]
        assert candidates
        change(kms)
        seen.add(pin(kms))
        assert works(kms, "keys", pin(kms))
    assert len(seen) > 1
    with kms:
        assert kms.sign("1.0.1").status == 200
