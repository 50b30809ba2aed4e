"""Secrets stay where they are: PINs and private keys in no command line, environment, log or other file; no core files; keys stay in the token."""
import base64
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from kms import PROCESSES, BIN, BUILD, Instance, run

KEYS = ["tls/server.key", "admin.key", "ci.key"]
PINS = ["pin-keys", "pin-checkpoint"]


def der(path):
    return base64.b64decode("".join(line for line in path.read_text().splitlines() if not line.startswith("-")))


def secrets(kms):
    """(file, form, bytes) of everything that must not be seen elsewhere, in the forms in which a careless program would write it."""
    found = []
    for path in PINS:
        pin = (kms.dir / path).read_bytes().strip()
        assert len(pin) >= 16
        found += [(path, "text", pin), (path, "hex", pin.hex().encode()), (path, "base64", base64.b64encode(pin)),
                  (path, "UTF-16", pin.decode().encode("utf-16-le"))]
    for path in KEYS:
        file = kms.dir / path
        body = [line for line in file.read_bytes().splitlines() if line and not line.startswith(b"-")]
        text = run("openssl", "pkey", "-in", file, "-noout", "-text").stdout.decode()
        scalar = bytes.fromhex("".join(re.search(r"priv:\s*((?:[0-9a-f]{2}:?\s*)+)", text)[1].split()).replace(":", ""))[-32:]
        assert len(scalar) == 32 and scalar in der(file)
        # The first line of a PEM body is mostly the algorithm; it begins like every other key's.
        found += [(path, "body", b"".join(body)), (path, "JSON", b"\\n".join(body)), (path, "bytes", scalar), (path, "hex", scalar.hex().encode()),
                  (path, "base64", base64.b64encode(scalar))]
        found += [(path, "line", line) for line in body[1:2]]
    ssh = b"".join(line for line in (kms.dir / "admin_ssh").read_bytes().splitlines() if not line.startswith(b"-"))
    found.append(("admin_ssh", "body", ssh))
    return found


def look(found, data, where, own=None):
    squeezed = data.replace(b"\n", b"")
    for path, form, secret in found:
        if path != own:
            assert secret not in data and secret not in squeezed, f"{path} as {form} in {where}"


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A running instance in which every kind of thing has happened, with what its programs printed."""
    kms = Instance(tmp_path_factory.mktemp("secrecy") / "dir")
    with kms:
        for number in range(4):
            assert kms.sign(f"1.{number}.0").status == 200
        assert kms.sign("0.0.1").status == 409
        assert kms.signed("POST", "/v1/keys", {"name": "second", "algorithm": "p256", "scheme": "statement"}).status == 201
        kms.new_identity("somebody")
        assert kms.request("ci", "POST", "/v1/sign", b"{").status == 400
        for options in ({"lane": "sign"}, {"lane": "admin"}):
            pid = kms.child("kmsd-token", **options)
            kms.kill(pid)
            kms.wait(lambda: pid not in kms.children() and len(kms.children()) == kms.n_children, 10, "the lane again")
        kms.wait(lambda: kms.sign("2.0.0").status == 200, 5, "a signature")
        yield kms


def test_no_secret_in_command_lines_and_environments(used):
    found = secrets(used)
    processes = [used.pid, *used.children()]
    assert len(processes) == used.n_children + 1
    for pid in processes:
        for name in ("cmdline", "environ", "comm", "status"):
            look(found, Path(f"/proc/{pid}/{name}").read_bytes(), f"{name} of {pid}")


def test_no_secret_in_answers(used):
    found = secrets(used)
    for door, who in (("admin", used.admin), ("ci", used.ci)):
        for path in ("whoami", "status", "keys", "keys/release", "identities", "policy"):
            answer = used.request(door, "GET", f"/v1/{path}", cert=who)
            assert answer.status in (200, 403, 404), answer
            look(found, answer.body + str(answer.headers).encode(), path)


def test_no_secret_in_files(used):
    """Log files, the audit log, settings, token stores: each secret stands in its own file only."""
    found = secrets(used)
    own = {*PINS, *KEYS, "admin_ssh"}
    for path, form, secret in found:
        if form in ("text", "body"):
            assert secret in (used.dir / path).read_bytes().replace(b"\n", b""), "what is looked for can be found"
    files = [file for file in used.dir.rglob("*") if file.is_file() and not file.is_symlink()]
    assert {"kmsd.log", "kmsd.yaml"} <= {file.name for file in files}
    for file in files:
        name = str(file.relative_to(used.dir))
        look(found, file.read_bytes(), name, own=name if name in own else None)
    for name in own:
        assert (used.dir / name).stat().st_mode & 0o077 == 0


def test_no_secret_in_messages_of_a_refused_start(used, tmp_path):
    shutil.copytree(used.dir, tmp_path / "dir", ignore=shutil.ignore_patterns("health.sock"))
    wrong = "Wr0ngP1nThatMustNotBeShownAnywhere"
    (tmp_path / "dir" / "pin-keys").write_text(wrong + "\n")
    for conf in (tmp_path / "dir" / "tokens").glob("*/softhsm2.conf"):
        conf.write_text(conf.read_text().replace(str(used.dir), str(tmp_path / "dir")))
    settings = tmp_path / "dir" / "kmsd.yaml"
    settings.write_text(re.sub(r"'127\.0\.0\.1:\d+'", "'127.0.0.1:0'", settings.read_text()))
    messages = tmp_path / "messages"
    with open(messages, "wb") as out:
        daemon = subprocess.Popen([BIN / "kmsd", "run", "--settings", settings, "--allow-dev"], stdout=out, stderr=out)
    try:
        used.wait(lambda: b"event=not-ready" in messages.read_bytes(), 20, "the refusal")
    finally:
        daemon.terminate()
        daemon.wait(15)
    said = messages.read_bytes()
    assert b"PIN" in said and wrong.encode() not in said
    look(secrets(used), said, "messages")
    for file in (tmp_path / "dir").rglob("*"):
        assert file.name == "pin-keys" or not file.is_file() or wrong.encode() not in file.read_bytes(), file


# Memory does not become a file


def core_folders(kms, pids):
    """Where the kernel may put a core file: core_pattern's folder or the process's own, and for good measure the instance's."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    folders = {str(kms.dir), os.getcwd(), "/", "/tmp"} | {os.readlink(f"/proc/{pid}/cwd") for pid in pids}
    if pattern.startswith("/"):
        folders.add(os.path.dirname(pattern))
    return [folder for folder in folders if os.path.isdir(folder)]


def cores(folders):
    return {os.path.join(folder, name) for folder in folders for name in os.listdir(folder) if re.match(r"(core|vgcore)", name)}


def no_core_limit(pid):
    line, = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max core file size")]
    return line.split()[4:6] == ["0", "0"]


def test_an_abort_leaves_no_core_file(own_kms):
    kms = own_kms
    children = kms.children()
    folders = core_folders(kms, [kms.pid, *children])
    before = cores(folders)
    assert len(children) == kms.n_children and all(no_core_limit(pid) for pid in [kms.pid, *children])
    for pid in sorted(children, reverse=True):
        if pid in kms.children():
            kms.kill(pid, signal.SIGABRT)
            kms.wait(lambda: pid not in kms.children(), 5, "the end of the child")
            assert len(kms.wait(lambda: len(kms.children()) == kms.n_children and kms.children(), 10, "all children")) == kms.n_children
    said = (kms.dir / "kmsd.log").read_text()
    assert len(re.findall(r"signal 6", said)) == kms.n_children, said
    main = kms.pid
    kms.kill(main, signal.SIGABRT)
    kms.wait(lambda: not os.path.exists(f"/proc/{main}/exe") or Path(f"/proc/{main}/stat").read_text().split(")")[1].split()[0] == "Z", 5, "its end")
    assert cores(folders) == before
    kms.start()
    assert kms.sign("1.0.0").status == 200


def test_processes_cannot_be_read_by_their_own_user():
    """Not dumpable: their /proc entries belong to root and the user who runs them may not look into memory, environment or descriptors."""
    root = os.geteuid() == 0
    user = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if root else {}
    home = Path(tempfile.mkdtemp(prefix="kmsd-secrecy."))
    directory = home / "dir"
    try:
        for name in ("bin", "libexec"):
            shutil.copytree(BUILD / name, home / name)
        if root:
            os.chown(home, user.pw_uid, user.pw_gid)

        def kmsd(*argv):
            return subprocess.run([home / "bin" / "kmsd", "dev", "--dir", directory, *argv], capture_output=True, timeout=90, cwd=home,
                                  env={"PATH": os.environ["PATH"], "HOME": str(home)}, **as_user)
        started = kmsd("--listen", "127.0.0.1:0", "--detach")
        assert started.returncode == 0, started.stderr
        assert b"root" not in started.stderr
        kms = Instance(directory)
        try:
            processes = [kms.pid, *kms.children()]
            assert len(processes) == PROCESSES
            for pid in processes:
                assert int(re.search(r"^Uid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1]) == user.pw_uid
                assert os.stat(f"/proc/{pid}/environ").st_uid == 0 and os.stat(f"/proc/{pid}/mem").st_uid == 0
                for name in ("environ", "mem", "maps", "auxv"):
                    peek = subprocess.run(["dd", f"if=/proc/{pid}/{name}", "of=/dev/null", "count=1"], capture_output=True, **as_user)
                    assert peek.returncode != 0 and b"denied" in peek.stderr, (pid, name, peek)
                assert subprocess.run(["ls", f"/proc/{pid}/fd"], capture_output=True, **as_user).returncode != 0
        finally:
            assert kmsd("--stop").returncode == 0
    finally:
        shutil.rmtree(home)


# Keys in the token


def tool(kms, *argv):
    module = re.search(r"module: '(.*)'", (kms.dir / "kmsd.yaml").read_text())[1]
    env = {**os.environ, "SOFTHSM2_CONF": str(kms.dir / "tokens/keys/softhsm2.conf"), "KMS_TEST_PIN": (kms.dir / "pin-keys").read_text().strip()}
    done = run("pkcs11-tool", "--module", module, "--token-label", "kmsd-keys", "--login", "--pin", "env:KMS_TEST_PIN", *argv, check=False, env=env)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.skipif(not shutil.which("pkcs11-tool"), reason="needs opensc")
def test_release_keys_cannot_leave_the_token(used):
    code, out, err = tool(used, "--list-objects", "--type", "privkey")
    assert code == 0, err
    objects = [text for text in re.split(r"(?m)^(?=\S)", out) if text.startswith("Private Key Object")]
    ids = {record["detail"]["key_id"]: record["key"]["name"] for record in used.records(event="key.create", outcome="ok")}
    assert sorted(ids.values()) == ["release", "second"]
    seen = set()
    for text in objects:
        members = dict(re.findall(r"^  (\S[^:]*):\s+(.*?)\s*$", text, re.M))
        access = {word.strip() for word in members["Access"].split(",")}
        assert {"sensitive", "always sensitive", "never extractable", "local"} <= access and "extractable" not in access, text
        if members["ID"] in ids:
            seen.add(members["ID"])
            assert text.startswith("Private Key Object; EC") and members["Usage"] == "sign", text
            assert [word.strip() for word in members["Allowed mechanisms"].split(",")] == ["ECDSA"], text
    assert seen == set(ids)


@pytest.mark.skipif(not shutil.which("pkcs11-tool"), reason="needs opensc")
def test_a_release_key_refuses_what_it_is_not_for(used, tmp_path):
    """With PIN and token in hand: the value is not given out, and only the one mechanism works."""
    key_id = used.records(event="key.create", outcome="ok")[0]["detail"]["key_id"]
    code, out, err = tool(used, "--read-object", "--type", "privkey", "--id", key_id, "--output-file", tmp_path / "value")
    assert code != 0 or not (tmp_path / "value").exists(), out + err
    (tmp_path / "data").write_bytes(bytes(32))
    use = ["--id", key_id, "--input-file", tmp_path / "data", "--output-file", tmp_path / "out"]
    code, _, err = tool(used, "--sign", "--mechanism", "ECDSA", *use)
    assert code == 0, err
    for mechanism in ("ECDSA-SHA256", "RSA-PKCS"):
        assert tool(used, "--sign", "--mechanism", mechanism, *use)[0] != 0
    peer = tmp_path / "peer.der"
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", tmp_path / "peer.key")
    run("openssl", "pkey", "-in", tmp_path / "peer.key", "-pubout", "-outform", "DER", "-out", peer)
    assert tool(used, "--derive", "--mechanism", "ECDH1-DERIVE", "--id", key_id, "--input-file", peer, "--output-file", tmp_path / "no")[0] != 0
