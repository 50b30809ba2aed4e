"""kmsd change-pin: another PIN, and a working combination of token and file whenever it is killed."""
import os
import random
import signal
import subprocess
import time

import pytest

from kms import BIN, run
from tokens import SOFTHSM, Shim

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


# PINs that are credentials

@pytest.fixture
def credentials(stopped, tmp_path):
    """The PIN of the keys as a service manager hands it over; what it takes it from is kept in `source`."""
    kms, store, source = stopped, tmp_path / "credentials", tmp_path / "source"
    store.mkdir()
    settings = kms.dir / "kmsd.yaml"
    settings.write_text(settings.read_text().replace("pin_file: pin-keys", "pin_credential: pin-keys"))
    (kms.dir / "pin-keys").rename(source)

    def hand_over():
        (store / "pin-keys").unlink(missing_ok=True)
        (store / "pin-keys").write_text(source.read_text())
        (store / "pin-keys").chmod(0o400)
    hand_over()
    return kms, {**os.environ, "CREDENTIALS_DIRECTORY": str(store)}, source, hand_over


def write(kms, env, file, check=True):
    return run(BIN / "kmsd", "change-pin", "keys", "--dir", kms.dir, "--write", file, env=env, check=check)


def test_a_credential(credentials, tmp_path):
    kms, env, source, hand_over = credentials
    file, old = tmp_path / "new-pin", source.read_text()
    said = write(kms, env, file)
    new = file.read_text()
    assert new != old and file.stat().st_mode & 0o777 == 0o600 and works(kms, "keys", new) and not works(kms, "keys", old)
    assert f"install -m 0600 {file} /etc/kmsd/pin-keys" in said.stdout.decode() and new.strip() not in (said.stdout + said.stderr).decode()
    write(kms, env, file)  # again before it was put in place: the same change, come to its end
    assert file.read_text() == new and works(kms, "keys", new)
    source.write_text(new)
    hand_over()
    done = write(kms, env, file, check=False)  # and after that: no other PIN, so nothing that says so
    assert done.returncode == 1 and b"remove it" in done.stderr and file.read_text() == new and works(kms, "keys", new)
    file.unlink()
    write(kms, env, file)
    assert file.read_text() != new and works(kms, "keys", file.read_text())


def test_a_credential_needs_a_place(credentials, tmp_path):
    kms, env, source, _ = credentials
    done = run(BIN / "kmsd", "change-pin", "keys", "--dir", kms.dir, env=env, check=False)
    assert done.returncode == 1 and b"--write" in done.stderr and b"credential pin-keys" in done.stderr
    assert b"LoadCredential=pin-keys:FILE kmsd change-pin keys" in done.stderr and b"--write" in run(BIN / "kmsd", "change-pin", "--help").stdout
    done = write(kms, None, tmp_path / "new-pin", check=False)
    assert done.returncode == 1 and b"systemd-run" in done.stderr and b"LoadCredential=pin-keys:FILE" in done.stderr
    done = run(BIN / "kmsd", "change-pin", "checkpoint", "--dir", kms.dir, "--write", tmp_path / "new-pin", env=env, check=False)
    assert done.returncode == 1 and b"leave out --write" in done.stderr
    assert write(kms, env, "new-pin", check=False).returncode == 1 and write(kms, env, tmp_path / "no/where", check=False).returncode == 1
    assert works(kms, "keys", source.read_text()) and not (tmp_path / "new-pin").exists()


@pytest.mark.parametrize("kind", ["text", "long", "folder", "link", "empty"])
def test_a_file_that_is_something_else(credentials, tmp_path, kind):
    """What the administrator names by mistake stays what it is."""
    kms, env, source, _ = credentials
    file, other = tmp_path / "new-pin", tmp_path / "other"
    other.write_text("n" * 32 + "\n")
    other.chmod(0o600)
    if kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.symlink_to(other)
    else:
        file.write_text({"text": "something", "long": "x" * 500, "empty": ""}[kind])
    done = write(kms, env, file, check=False)
    assert done.returncode == 1 and b"new-pin" in done.stderr and works(kms, "keys", source.read_text()), done.stderr
    assert file.is_dir() if kind == "folder" else file.is_symlink() if kind == "link" else file.read_text() in ("something", "x" * 500, "")
    assert other.read_text() == "n" * 32 + "\n"


def test_a_leftover_with_the_pin_that_the_token_has(stopped):
    """A copy of the PIN under the name of the next one is no change that was interrupted."""
    kms, before = stopped, pin(stopped)
    (kms.dir / "pin-keys.new").write_text(before)
    (kms.dir / "pin-keys.new").chmod(0o600)
    change(kms)
    assert pin(kms) != before and works(kms, "keys", pin(kms)) and not (kms.dir / "pin-keys.new").exists()


# A PIN that is wrong

@pytest.mark.parametrize("words", [["change-pin", "keys"], ["renew-server"], ["renew-ca"]], ids=lambda words: words[0])
def test_a_wrong_pin_is_tried_once(stopped, words):
    """Whoever runs a command again and again must not lock the token: the first refusal seals it, as for the service."""
    kms, right = stopped, pin(stopped)
    (kms.dir / "pin-keys").write_text("wrong-pin-of-somebody\n")
    done = run(BIN / "kmsd", *words, "--dir", kms.dir, check=False)
    assert done.returncode == 1 and b"pin-keys" in done.stderr and b"kmsd unseal" in done.stderr, done.stderr
    assert "pin-keys" in (kms.dir / "tokens/sealed").read_text()
    (kms.dir / "pin-keys").write_text(right)
    done = run(BIN / "kmsd", *words, "--dir", kms.dir, check=False)
    assert done.returncode == 1 and b"kmsd unseal" in done.stderr and works(kms, "keys", right)
    assert b"the token had said" in run(BIN / "kmsd", "unseal", "--dir", kms.dir).stdout
    run(BIN / "kmsd", *words, "--dir", kms.dir)
    assert works(kms, "keys", pin(kms))


def test_what_is_wrong_with_a_file_seals_nothing(stopped):
    (stopped.dir / "pin-keys").chmod(0o644)
    done = change(stopped, check=False)
    assert done.returncode == 1 and b"chmod 0600" in done.stderr and not (stopped.dir / "tokens/sealed").exists()


@pytest.fixture
def shim(stopped):
    """Counts and fails what the token of the keys is asked."""
    settings = stopped.dir / "kmsd.yaml"
    made = Shim(stopped.dir, SOFTHSM)
    settings.write_text(settings.read_text().replace(f"module: '{SOFTHSM}'", f"module: '{made.module}'", 1))
    assert str(made.module) in settings.read_text()
    return made


def test_a_wrong_pin_is_tried_once_by_one_run(stopped, shim):
    (stopped.dir / "pin-keys").write_text("wrong-pin-of-somebody\n")
    assert change(stopped, check=False).returncode == 1
    assert shim.calls("C_SetPIN") + shim.calls("C_Login") == 1


@pytest.mark.parametrize("how", ["fail", "late"])
def test_a_token_that_fails_in_the_middle(stopped, shim, how):
    """Whether it took the new PIN or not: no refusal, nothing sealed, and another run ends well."""
    shim.set(f"C_SetPIN nth:1 {how}:0x30")
    done = change(stopped, check=False)
    assert done.returncode == 1 and (b"run the command again" if how == "late" else b"nothing was changed") in done.stderr, done.stderr
    assert not (stopped.dir / "tokens/sealed").exists()
    change(stopped)
    assert works(stopped, "keys", pin(stopped))
