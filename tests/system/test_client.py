"""kmsctl against a scripted service: signing, verification, changes, repetitions, hostile answers."""
import base64
import hashlib
import json
import os
import pty
import ssl
import subprocess
import time
from urllib.parse import parse_qsl, urlsplit

import pytest

import fake_service as fs

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KMSCTL = os.path.join(TOP, os.environ.get("KMSD_BUILD", "build"), "bin", "kmsctl")
POLICY = os.path.join(TOP, "policy", "examples", "bootstrap.yaml")


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return fs.Pki(str(tmp_path_factory.mktemp("pki")))


@pytest.fixture
def fake(pki):
    f = fs.Fake(pki)
    yield f
    f.close()


class Ctl:
    def __init__(self, fake, pki, cwd):
        self.cwd = str(cwd)
        self.env = {"PATH": os.environ["PATH"], "HOME": self.cwd, "KMS_ADDR": fake.url, "KMS_ADMIN_ADDR": fake.url, "KMS_CACERT": pki("ca.pem"),
                    "KMS_CERT": pki("client.pem"), "KMS_KEY": pki("client.key"), "KMS_SSH_KEY": pki("id"), "KMS_SIGN_KEY": "ota",
                    "KMS_APP": "demo", "KMS_CHANNEL": "stable"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]

    def __call__(self, *argv, **env):
        full = {k: v for k, v in {**self.env, **env}.items() if v is not None}
        return subprocess.run([KMSCTL, *map(str, argv)], cwd=self.cwd, env=full, capture_output=True, text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL)


@pytest.fixture
def ctl(fake, pki, tmp_path):
    (tmp_path / "app.zip").write_bytes(b"bundle\n")
    return Ctl(fake, pki, tmp_path)


def test_help_and_usage(ctl):
    assert "sign releases" in ctl("--help").stdout
    one = ctl("sign", "--help")
    assert one.returncode == 0 and "--idempotency-key" in one.stdout and "KMS_ADDR" in one.stdout
    assert ctl("help", "key", "create").stdout.startswith("Usage: kmsctl key create")
    assert ctl("key", "--help").returncode == 0
    assert ctl("--version").stdout.startswith("kmsctl ")
    for argv in ([], ["key"], ["sgin"], ["sign", "--nope"], ["status", "extra"], ["sign", "app.zip"], ["verify", "app.zip"]):
        assert ctl(*argv).returncode == 2, argv
    assert ctl("key").stderr.startswith("Usage: kmsctl key COMMAND ")
    assert "ENVELOPE is missing" in ctl("verify", "app.zip").stderr and "FILE ENVELOPE is missing" in ctl("verify").stderr
    for word in ("", "x"):
        assert "Did you mean" not in ctl(word).stderr
    assert "Did you mean 'kmsctl sign'?" in ctl("sgin").stderr
    assert "Did you mean 'kmsctl key list'?" in ctl("kye", "list").stderr


def test_missing_settings_are_named(ctl):
    done = ctl("whoami", KMS_CACERT=None)
    assert done.returncode == 2 and "--cacert" in done.stderr and "KMS_CACERT" in done.stderr
    done = ctl("whoami", KMS_CERT="/nonexistent")
    assert done.returncode == 2 and "/nonexistent" in done.stderr
    done = ctl("whoami", KMS_ADDR="http://127.0.0.1:1")
    assert done.returncode == 2 and "https://" in done.stderr


def test_sign_then_verify(ctl, fake, pki, tmp_path):
    done = ctl("sign", "app.zip", "--version", "1.0.0")
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert out["record"] == {"seq": 42, "hash": "cd" * 32} and out["key"] == "ota" and out["key_version"] == 1
    rq = fake.requests[0]
    assert rq.json() == {"key": "ota", "app": "demo", "channel": "stable", "version": "1.0.0", "name": "app.zip", "size": 7,
                         "digest": {"alg": "sha256", "hex": hashlib.sha256(b"bundle\n").hexdigest()}}
    assert len(rq.headers["Idempotency-Key"]) == 32 and rq.headers["Content-Type"] == "application/json"
    text = (tmp_path / "app.zip.dsse.json").read_bytes()
    assert text.endswith(b"}\n") and text[:-1] == fs.canonical(json.loads(text))
    done = ctl("verify", "app.zip", "app.zip.dsse.json", "--pub", pki("release.pem"))
    assert done.returncode == 0, done.stderr
    bound = json.loads(done.stdout)
    assert bound["version"] == "1.0.0" and bound["size"] == 7 and bound["log_head"] == {"seq": 41, "hash": "ab" * 32} and bound["verified"]
    table = ctl("verify", "app.zip", "app.zip.dsse.json", "--pub", pki("release.pem"), "--output", "table").stdout
    assert "log_head           41:" + "ab" * 32 in table


def test_flags_win_over_environment(ctl, fake):
    assert ctl("sign", "app.zip", "--version", "1.0.0", "--key", "k2", "--app", "other", "--channel", "beta", "--name", "x.bin").returncode == 0
    body = fake.requests[0].json()
    assert (body["key"], body["app"], body["channel"], body["name"]) == ("k2", "other", "beta", "x.bin")


def test_several_files(ctl, fake, tmp_path):
    (tmp_path / "b.zip").write_bytes(b"b")
    done = ctl("sign", "app.zip", "b.zip", "--version", "1.0.0")
    assert done.returncode == 0
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["app.zip", "b.zip"]
    assert (tmp_path / "b.zip.dsse.json").exists()
    assert [item["name"] for item in fake.requests[0].json()["items"]] == ["app.zip", "b.zip"] and len(fake.requests) == 1
    assert ctl("sign", "app.zip", "b.zip", "--version", "1.0.0", "--name", "x").returncode == 2


def files(tmp_path, count):
    names = [f"f{n}.zip" for n in range(count)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    return names


def test_many_files(ctl, fake, tmp_path, monkeypatch):
    """Batches of a thousand; every file has its digest and its envelope. The signatures are one and the same: nobody checks them here."""
    names, made = files(tmp_path, 2100), fake.pki.sign(b"{}")["signatures"]
    monkeypatch.setattr(fake.pki, "sign", lambda payload: {"payload": base64.b64encode(payload).decode(), "payloadType": fs.TYPE, "signatures": made})
    done = ctl("sign", *names, "--version", "1.0.0", "--idempotency-key", "job-1")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["file"] for result in results] == names
    assert all(result["sha256"] == hashlib.sha256(name.encode()).hexdigest() for name, result in zip(names, results))
    for name in names[::100]:
        payload = json.loads(base64.b64decode(json.loads((tmp_path / f"{name}.dsse.json").read_text())["payload"]))
        assert payload["subject"][0]["name"] == name
    assert [len(rq.json()["items"]) for rq in fake.requests] == [1000, 1000, 100]
    keys = [rq.headers["Idempotency-Key"] for rq in fake.requests]
    assert len(set(keys)) == 3 and all(key.startswith("job-1.") for key in keys)
    assert ctl("sign", *names, "--version", "1.0.0", "--idempotency-key", "job-1").returncode == 0
    assert [rq.headers["Idempotency-Key"] for rq in fake.requests[3:]] == keys


def test_a_service_that_takes_short_bodies_only(ctl, fake, tmp_path, monkeypatch):
    made, batch = fake.pki.sign(b"{}")["signatures"], fake.batch
    monkeypatch.setattr(fake.pki, "sign", lambda payload: {"payload": base64.b64encode(payload).decode(), "payloadType": fs.TYPE, "signatures": made})
    monkeypatch.setattr(fake, "batch", lambda rq: fs.problem(413, "too-large") if len(rq.body) > 20000 else batch(rq))
    done = ctl("sign", *files(tmp_path, 300), "--version", "1.0.0")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 300, done.stderr
    taken = [len(rq.json()["items"]) for rq in fake.requests if len(rq.body) <= 20000]
    assert sum(taken) == 300 and len(fake.requests) - len(taken) <= 3
    monkeypatch.setattr(fake, "batch", lambda rq: fs.problem(413, "too-large"))
    assert ctl("sign", *files(tmp_path, 5), "--version", "1.0.0").returncode == 1


def test_one_of_many_is_refused(ctl, fake, tmp_path):
    fake.script = [lambda rq: fake.batch(rq, f1="version-not-newer")]
    done = ctl("sign", *files(tmp_path, 3), "--version", "1.0.0")
    assert done.returncode == 1 and "f1.zip: Detail of version-not-newer" in done.stderr and "1 of 3 files were not signed" in done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result.get("error", {}).get("slug") for result in results] == [None, "version-not-newer", None]
    assert results[1]["error"]["request_id"] == "req-f1.zip" and results[1]["error"]["status"] == 409
    assert len(fake.requests) == 1
    assert (tmp_path / "f0.zip.dsse.json").exists() and not (tmp_path / "f1.zip.dsse.json").exists()


def test_only_what_was_refused_for_now_is_repeated(ctl, fake, tmp_path):
    fake.script = [lambda rq: fake.batch(rq, f1="busy", f2="digest-conflict", f3="busy"), lambda rq: fake.batch(rq, f3="busy")]
    done = ctl("sign", *files(tmp_path, 5), "--version", "1.0.0", "--idempotency-key", "again")
    assert done.returncode == 1 and "1 of 5 files" in done.stderr and "trying again" in done.stderr
    assert [[item["name"] for item in rq.json()["items"]] for rq in fake.requests] == [[f"f{n}.zip" for n in range(5)], ["f1.zip", "f3.zip"], ["f3.zip"]]
    assert len({rq.headers["Idempotency-Key"] for rq in fake.requests}) == 3
    assert [result.get("error", {}).get("slug") for result in map(json.loads, done.stdout.splitlines())] == [None, None, "digest-conflict", None, None]
    fake.script = [lambda rq: fake.batch(rq, **{f"f{n}": "busy" for n in range(5)})] * 3
    assert ctl("sign", *files(tmp_path, 5), "--version", "1.0.0", "--retries", "1").returncode == 3


def test_many_under_one_key_when_the_connection_is_lost(ctl, fake, tmp_path):
    fake.script = ["drop", fs.problem(503, "busy")]
    done = ctl("sign", *files(tmp_path, 3), "--version", "1.0.0")
    assert done.returncode == 0, done.stderr
    assert len({(rq.headers["Idempotency-Key"], rq.body) for rq in fake.requests}) == 1 and len(fake.requests) == 3


@pytest.mark.parametrize("change", [lambda items: items[:2], lambda items: items[::-1], lambda items: [items[0]] * 3, lambda items: [7, None, "x"],
                                    lambda items: [{"problem": 7}] * 3, lambda items: [{}] * 3], ids=["short", "reversed", "same", "no objects", "no problem", "empty"])
def test_hostile_batch_answers(ctl, fake, tmp_path, change):
    def answer(rq):
        status, headers, body = fake.batch(rq)
        body = json.loads(body)
        return fs.answer(200, {**body, "items": change(body["items"])})
    fake.script = [answer]
    done = ctl("sign", *files(tmp_path, 3), "--version", "1.0.0")
    assert done.returncode == 1, done.stderr
    bound = {name for name in ("f0.zip", "f1.zip", "f2.zip") if (tmp_path / f"{name}.dsse.json").exists()}
    for name in bound:
        assert json.loads(base64.b64decode(json.loads((tmp_path / f"{name}.dsse.json").read_text())["payload"]))["subject"][0]["name"] == name
    assert len(bound) < 3


def test_a_file_that_cannot_be_read_stops_before_the_first_request(ctl, fake, tmp_path):
    done = ctl("sign", *files(tmp_path, 3), "missing.zip", "--version", "1.0.0")
    assert done.returncode == 1 and "missing.zip" in done.stderr and not fake.requests


def test_a_bad_name_stops_before_the_first_request(ctl, fake, tmp_path):
    (tmp_path / "with space.zip").write_bytes(b"b")
    done = ctl("sign", "app.zip", "with space.zip", "--version", "1.0.0")
    assert done.returncode == 2 and "--name" in done.stderr and not fake.requests


def test_digest_instead_of_file(ctl, fake, tmp_path):
    hexa = hashlib.sha256(b"bundle\n").hexdigest()
    done = ctl("sign", "--digest", "sha256:" + hexa, "--size", "7", "--name", "app.zip", "--version", "2.0.0", "--output-file", "-")
    assert done.returncode == 0 and json.loads(done.stdout)["payloadType"] == fs.TYPE
    assert ctl("sign", "--digest", "sha256:" + hexa.upper(), "--version", "2.0.0").returncode == 2
    assert ctl("sign", "app.zip", "--digest", "sha256:" + hexa, "--version", "2.0.0").returncode == 2
    assert ctl("sign", "--digest", "sha256:" + hexa, "--version", "2.0.0").returncode == 0
    assert "size" not in fake.requests[-1].json() and (tmp_path / "demo.dsse.json").exists()


def test_dry_run_writes_nothing(ctl, fake, tmp_path):
    fake.script = [fs.answer(200, {"decision": "allow", "signed_before": False, "rule": "signer/demo", "policy": "ab" * 32, "request_id": "req-1"})]
    done = ctl("sign", "app.zip", "--version", "1.0.0", "--dry-run")
    assert done.returncode == 0 and json.loads(done.stdout)["rule"] == "signer/demo"
    assert fake.requests[0].json()["dry_run"] is True and not (tmp_path / "app.zip.dsse.json").exists()


def test_503_then_200_under_one_key(ctl, fake):
    fake.script = [fs.problem(503, "token-unavailable", retry_after=1), "drop"]
    began = time.monotonic()
    done = ctl("sign", "app.zip", "--version", "1.0.0")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began >= 1 and "token-unavailable; trying again" in done.stderr
    assert len({rq.headers["Idempotency-Key"] for rq in fake.requests}) == 1 and len(fake.requests) == 3
    assert len({rq.body for rq in fake.requests}) == 1


def test_given_idempotency_key(ctl, fake):
    assert ctl("sign", "app.zip", "--version", "1.0.0", "--idempotency-key", "job-17").returncode == 0
    assert fake.requests[0].headers["Idempotency-Key"] == "job-17"
    assert ctl("sign", "app.zip", "--version", "1.0.0", "--idempotency-key", "a\r\nX: y").returncode == 2


def test_repetitions_end(ctl, fake):
    fake.script = [fs.problem(503, "busy")] * 20
    done = ctl("sign", "app.zip", "--version", "1.0.0", "--retries", "2")
    assert done.returncode == 3 and len(fake.requests) == 3 and "(busy)" in done.stderr and "req-1" in done.stderr
    fake.script = [fs.problem(503, "busy", retry_after=600)]
    began = time.monotonic()
    assert ctl("whoami", "--timeout", "5").returncode == 3 and time.monotonic() - began < 3


def test_timeout(ctl, fake):
    def slow(_rq):
        time.sleep(4)
        return "drop"
    fake.script = [slow]
    began = time.monotonic()
    assert ctl("whoami", "--timeout", "1").returncode == 3 and time.monotonic() - began < 3


def test_unreachable(ctl, pki):
    began = time.monotonic()
    assert ctl("whoami", KMS_ADDR="https://127.0.0.1:1").returncode == 3 and time.monotonic() - began < 3
    assert "is the service running" in ctl("whoami", KMS_ADDR="https://127.0.0.1:1").stderr
    done = ctl("whoami", KMS_CACERT=pki("client.pem"))
    assert done.returncode == 3 and "certificate" in done.stderr


def test_refused_client_certificate(ctl, tmp_path):
    other = fs.Pki(str(tmp_path))
    began = time.monotonic()
    done = ctl("whoami", "--retries", "1", KMS_CERT=other("client.pem"), KMS_KEY=other("client.key"))
    assert done.returncode == 3 and "client certificate" in done.stderr and time.monotonic() - began < 3


def test_old_tls_is_refused(ctl, fake):
    fake.tls.minimum_version = fake.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    done = ctl("whoami")
    assert done.returncode == 3 and "version" in done.stderr and not fake.requests


def test_problem_is_readable(ctl, fake):
    fake.script = [fs.problem(403, "forbidden", rule="default-deny")]
    done = ctl("sign", "app.zip", "--version", "1.0.0")
    assert done.returncode == 1
    for part in ("Title of forbidden (forbidden)", "Detail of forbidden.", "default-deny", "req-1"):
        assert part in done.stderr


def test_pending_is_4(ctl, fake, tmp_path):
    fake.script = [fs.answer(202, {"request_id": "req-9"}, Location="/v1/requests/req-9")]
    done = ctl("sign", "app.zip", "--version", "1.0.0")
    assert done.returncode == 4 and "req-9" in done.stderr and not (tmp_path / "app.zip.dsse.json").exists()


def test_unusable_certificate_files(ctl, pki, tmp_path):
    (tmp_path / "junk").write_text("junk")
    for name, words in (("KMS_CACERT", "the service's CA"), ("KMS_CERT", "the client's certificate and key"), ("KMS_KEY", "the client's certificate and key")):
        done = ctl("whoami", **{name: "junk"})
        assert done.returncode == 1 and words in done.stderr and "junk" in done.stderr and "127.0.0.1" not in done.stderr, done
    other = ctl("whoami", KMS_KEY=pki("server.key"))
    assert other.returncode == 1 and "the one of the certificate" in other.stderr, other
    stranger = ctl("whoami", KMS_CACERT=pki("client.pem"))
    assert stranger.returncode == 3 and "the CA's certificate must be the one of that service" in stranger.stderr, stranger


def wrong(change):
    """An answer that is right but for one thing."""
    def make(fake):
        def reply(rq):
            obj = fake.signature(rq.json())
            change(fake, rq.json(), obj)
            return fs.answer(200, obj)
        return reply
    return make


def other_statement(**kw):
    def change(fake, rq, obj):
        obj["envelope"] = fake.pki.sign(fake.statement(rq, **kw))
    return wrong(change)


HOSTILE = {
    "version": other_statement(version="9.9.9"), "app": other_statement(app="other"), "channel": other_statement(channel="beta"),
    "name": other_statement(name="other.zip"), "size": other_statement(size=8), "key": other_statement(key={"name": "x", "version": 1}),
    "key version": other_statement(key={"name": "ota", "version": 2}), "unknown member": other_statement(extra=1),
    "environment": other_statement(environment="prod"),
    "hash": wrong(lambda f, rq, o: o["record"].update(hash="zz")), "no record": wrong(lambda f, rq, o: o.pop("record")),
    "scheme": wrong(lambda f, rq, o: o.update(scheme="digest")), "envelope member": wrong(lambda f, rq, o: o["envelope"].update(key="pem")),
    "no envelope": wrong(lambda f, rq, o: o.pop("envelope")), "negative": wrong(lambda f, rq, o: o["record"].update(seq=-1)),
    "two signatures": wrong(lambda f, rq, o: o["envelope"].update(signatures=o["envelope"]["signatures"] * 2)),
    "deep": lambda f: (200, {"Content-Type": "application/json"}, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "duplicate": lambda f: (200, {"Content-Type": "application/json"}, b'{"key":"a","key":"b"}'),
    "float": lambda f: (200, {"Content-Type": "application/json"}, b'{"key":1e2}'),
    "html": lambda f: (200, {"Content-Type": "text/html"}, b"<html>"),
    "empty": lambda f: (200, {"Content-Type": "application/json"}, b""),
    "huge": lambda f: (200, {"Content-Type": "application/json"}, b'{"a":"' + b"x" * (5 << 20) + b'"}'),
    "redirect": lambda f: (302, {"Location": "https://127.0.0.1:1/"}, b""),
    "html problem": lambda f: (502, {"Content-Type": "text/html"}, b"<html>"),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_hostile_sign_answers(ctl, fake, tmp_path, kind):
    fake.script = [HOSTILE[kind](fake)]
    done = ctl("sign", "app.zip", "--version", "1.0.0")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("kmsctl: ") and not (tmp_path / "app.zip.dsse.json").exists() and len(fake.requests) == 1


def test_terminal_sequences_are_escaped(ctl, fake):
    evil = "a\x1b]0;pwn\x07\u202eb\u009b31m\r"
    fake.script = [fs.problem(403, "forbidden", rule=evil, title=evil)]
    done = ctl("whoami")
    for c in "\x1b\x07\u202e\u009b\r":
        assert c not in done.stderr
    for form in ("table", "json"):
        fake.script = [fs.answer(200, {"identity": {"name": evil}, evil: "x"})]
        out = ctl("whoami", "--output", form).stdout
        for c in "\x1b\x07\u202e\u009b\r":
            assert c not in out
        assert form == "table" or json.loads(out)["identity"]["name"] == evil


def test_verify_refuses(ctl, fake, pki, tmp_path):
    ctl("sign", "app.zip", "--version", "1.0.0")
    args = ["verify", "app.zip", "app.zip.dsse.json", "--pub", pki("release.pem")]
    assert ctl(*args, "--app", "demo", "--channel", "stable", "--version", "1.0.0", "--name", "app.zip", KMS_APP="zzz").returncode == 0
    for option, value in (("--app", "x"), ("--channel", "x"), ("--version", "1.0.1"), ("--name", "x")):
        assert ctl(*args, option, value).returncode == 1
    other = fs.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256").stdout
    (tmp_path / "other.pem").write_bytes(fs.run("openssl", "pkey", "-pubout", input=other).stdout)
    assert ctl(*args[:-1], "other.pem").returncode == 1
    (tmp_path / "app.zip").write_bytes(b"bundlf\n")
    done = ctl(*args)
    assert done.returncode == 1 and "app.zip.dsse.json: the file's SHA-256" in done.stderr and done.stdout == ""
    for words in (["verify", "app.zip", "app.zip", "--pub", pki("release.pem")], ["statement", "show", "app.zip"]):
        assert "kmsctl: app.zip: envelope: " in ctl(*words).stderr
    assert ctl("verify", "app.zip", "nonexistent", "--pub", pki("release.pem")).returncode == 1


def test_development_statements(ctl, fake, pki):
    fake.environment = "development"
    assert ctl("sign", "app.zip", "--version", "1.0.0").returncode == 0
    args = ["verify", "app.zip", "app.zip.dsse.json", "--pub", pki("release.pem")]
    done = ctl(*args)
    assert done.returncode == 1 and "--allow-dev" in done.stderr
    assert ctl(*args, "--allow-dev").returncode == 0


def test_openssl_agrees(ctl, pki, tmp_path):
    ctl("sign", "app.zip", "--version", "1.0.0")
    pae = subprocess.run([KMSCTL, "statement", "pae", "app.zip.dsse.json", "--signature-out", "sig"], cwd=tmp_path, capture_output=True,
                         check=True).stdout
    assert pae.startswith(b"DSSEv1 28 application/vnd.in-toto+json ")
    fs.run("openssl", "dgst", "-sha256", "-verify", pki("release.pem"), "-signature", tmp_path / "sig", input=pae)
    show = ctl("statement", "show", "app.zip.dsse.json")
    assert json.loads(show.stdout)["keyid"] == pki.keyid and "not checked" in show.stderr


def test_changes_are_ssh_signed(ctl, fake):
    fake.script = [fs.answer(201, {"key": {"name": "ota"}, "record": {"seq": 1, "hash": "aa"}})]
    done = ctl("key", "create", "ota", "--algorithm", "p256", "--scheme", "statement")
    assert done.returncode == 0, done.stderr
    nonce, create = fake.requests
    assert nonce.path == "/v1/nonce" and nonce.body == b"" and "Idempotency-Key" not in nonce.headers
    assert create.json() == {"name": "ota", "algorithm": "p256", "scheme": "statement"} and fake.ssh_signed(create)


def test_agent_key(ctl, fake, pki, tmp_path):
    env = {"SSH_AUTH_SOCK": str(tmp_path / "agent")}
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", env["SSH_AUTH_SOCK"]], stdout=subprocess.DEVNULL)
    try:
        while not os.path.exists(env["SSH_AUTH_SOCK"]):
            time.sleep(0.05)
        fs.run("ssh-add", pki("id"), env={**os.environ, **env})
        (tmp_path / "only.pub").write_bytes(open(pki("id.pub"), "rb").read())
        fake.script = [fs.answer(200, {"record": {"seq": 1, "hash": "aa"}})]
        done = ctl("release", "withdraw", "--version", "1.0.0", "--reason", "bad build", KMS_SSH_KEY="only.pub", **env)
        assert done.returncode == 0, done.stderr
        assert fake.ssh_signed(fake.requests[-1])
        assert fake.requests[-1].json() == {"app": "demo", "channel": "stable", "version": "1.0.0", "reason": "bad build"}
    finally:
        agent.terminate()
        agent.wait()


def test_a_change_that_waits_is_4(ctl, fake):
    fake.script = [fs.answer(202, {"request_id": "req-9"})]
    done = ctl("key", "create", "ota")
    assert done.returncode == 4 and "req-9" in done.stderr


def test_a_repeated_change_has_a_fresh_nonce(ctl, fake):
    fake.script = [fs.problem(503, "busy"), fs.answer(200, {"record": {"seq": 1, "hash": "aa"}})]
    assert ctl("identity", "disable", "build", "--reason", "left").returncode == 0
    assert [rq.path for rq in fake.requests] == ["/v1/nonce", "/v1/identities/build/disable"] * 2
    first, second = fake.requests[1], fake.requests[3]
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] and first.headers["Kms-Signature"] != second.headers["Kms-Signature"]
    assert fake.ssh_signed(second)


def test_changes_need_an_ssh_key(ctl, fake):
    done = ctl("key", "create", "ota", KMS_SSH_KEY=None)
    assert done.returncode == 2 and "--ssh-key" in done.stderr and not fake.requests
    assert ctl("key", "create", "ota", KMS_SSH_KEY="/nonexistent").returncode == 1


def test_lists_are_followed(ctl, fake):
    key = {"algorithm": "p256", "created": "2026-01-01T00:00:00.000000Z", "scheme": "statement", "state": "active", "version": 1}
    pages = [fs.answer(200, {"items": [{"name": "a", **key}], "next": "a"}), fs.answer(200, {"items": [{"name": "b", **key}], "next": None})]
    fake.script = list(pages)
    assert [k["name"] for k in json.loads(ctl("key", "list").stdout)["items"]] == ["a", "b"]
    assert [rq.path for rq in fake.requests] == ["/v1/keys?limit=100", "/v1/keys?limit=100&after=a"]
    fake.script = list(pages)
    assert ctl("key", "list", "-o", "table").stdout.splitlines()[0].split() == ["NAME", "VERSION", "ALGORITHM", "SCHEME", "STATE", "COMPROMISED", "CREATED"]
    fake.script = [fs.answer(200, {"items": [{"name": "a"}], "next": "a"})] * 3
    done = ctl("key", "list")
    assert done.returncode == 1 and "does not come to an end" in done.stderr
    fake.script = [fs.answer(200, {"items": [{"name": "a"}], "next": "a&limit=1"})]
    assert ctl("key", "list").returncode == 1


def test_public_keys(ctl, fake, pki):
    pem = open(pki("release.pem")).read()
    kinds = {"Content-Type": "application/x-pem-file"}
    fake.script = [(200, kinds, pem.encode())]
    assert ctl("key", "public", "ota").stdout == pem
    assert fake.requests[0].path == "/v1/keys/ota/public?format=pem"
    fake.script = [(200, kinds, b"\x1b[31m" + pem.encode())]
    assert ctl("key", "public", "ota").returncode == 1
    line = open(pki("id.pub")).read()
    fake.script = [(200, {"Content-Type": "text/plain"}, line.encode())]
    assert ctl("key", "public", "ota", "--format", "ssh").stdout.split() == line.split()[:2]
    assert ctl("key", "public", "ota", "--format", "der").returncode == 2
    assert ctl("key", "show", "../policy").returncode == 2


def test_identity_of_a_machine(ctl, fake, pki, tmp_path):
    cert = open(pki("client.pem")).read()
    fake.script = [fs.answer(201, {"certificate": cert, "identity": {"name": "build"}, "record": {"seq": 1, "hash": "aa"}})]
    done = ctl("identity", "create", "build", "--kind", "ci", "--csr", pki("client.csr"), "--days", "30", "--cert-out", "build.pem")
    assert done.returncode == 0, done.stderr
    body = fake.requests[-1].json()
    assert body == {"kind": "ci", "name": "build", "days": 30, "csr": open(pki("client.csr")).read()} and fake.ssh_signed(fake.requests[-1])
    assert (tmp_path / "build.pem").read_text() == cert and "BEGIN" not in done.stdout
    fake.script = [fs.answer(201, {"identity": {"name": "job"}, "record": {"seq": 1, "hash": "aa"}})]
    assert ctl("identity", "create", "job", "--kind", "service", "--spiffe", "spiffe://x/y", "--ca", pki("ca.pem")).returncode == 0
    assert fake.requests[-1].json() == {"kind": "service", "name": "job", "spiffe": "spiffe://x/y", "ca": open(pki("ca.pem")).read()}


def test_a_name_of_a_person_stays_here(ctl, fake, pki, tmp_path):
    fs.run("openssl", "req", "-new", "-key", pki("client.key"), "-subj", "/", "-out", tmp_path / "ada.csr")
    args = ["--kind", "human", "--csr", "ada.csr", "--ssh", pki("id.pub")]
    done = ctl("identity", "create", "Ada Lovelace", *args)
    assert done.returncode == 2 and "--people" in done.stderr and not fake.requests
    fake.script = [fs.answer(201, {"identity": {"name": "h-0123456789abcdef"}, "record": {"seq": 1, "hash": "aa"}})]
    done = ctl("identity", "create", "Ada Lovelace", *args, "--people", "people.jsonl")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert json.loads((tmp_path / "people.jsonl").read_text()) == {"handle": "h-0123456789abcdef", "name": "Ada Lovelace"}
    assert (tmp_path / "people.jsonl").stat().st_mode & 0o777 == 0o600
    body = fake.requests[-1].json()
    assert "name" not in body and body["ssh"] == [" ".join(open(pki("id.pub")).read().split()[:2])]
    for rq in fake.requests:
        assert b"Ada" not in rq.body and b"example.org" not in rq.body
    fake.script = [fs.answer(201, {"identity": {"name": "h-0123456789abcdef"}, "record": {"seq": 1, "hash": "aa"}})]
    assert "subject" in ctl("identity", "create", "--kind", "human", "--csr", pki("client.csr"), "--ssh", pki("id.pub")).stderr


def test_identity_usage(ctl, fake, pki):
    for argv in (["--kind", "ci", "--csr", "x"], ["b", "--kind", "robot", "--csr", "x"], ["b", "--kind", "ci"], ["b", "--kind", "ci", "--dns", "x"],
                 ["b", "--kind", "ci", "--csr", "x", "--dns", "x", "--ca", "x"], ["b", "--kind", "ci", "--csr", pki("client.csr"), "--days", "399"],
                 ["b", "--kind", "ci", "--csr", "x", "--ssh", "x"], ["--kind", "human", "--csr", "x"]):
        assert ctl("identity", "create", *argv).returncode == 2, argv
    assert ctl("identity", "create", "b", "--kind", "ci", "--csr", pki("client.pem")).returncode == 1
    assert not fake.requests


def test_policy(ctl, fake, tmp_path):
    text = open(POLICY, "rb").read()
    done = ctl("policy", "check", POLICY)
    assert done.returncode == 0 and json.loads(done.stdout)["sha256"] == hashlib.sha256(text).hexdigest() and not fake.requests
    (tmp_path / "bad.yaml").write_text("version: 1\nnonsense: 2\n")
    for argv in (["check", "bad.yaml"], ["apply", "bad.yaml"]):
        done = ctl("policy", *argv)
        assert done.returncode == 1 and "bad.yaml:2:" in done.stderr and not fake.requests
    fake.script = [fs.answer(200, {"sha256": "x", "valid": True})]
    assert ctl("policy", "check", POLICY, "--remote").returncode == 0
    assert fake.requests[-1].path == "/v1/policy/check" and "Kms-Signature" not in fake.requests[-1].headers
    fake.script = [fs.answer(200, {"record": {"seq": 1, "hash": "aa"}, "sha256": "x"})]
    assert ctl("policy", "apply", POLICY).returncode == 0
    rq = fake.requests[-1]
    assert (rq.method, rq.path, rq.body, rq.headers["Content-Type"]) == ("PUT", "/v1/policy", text, "application/yaml") and fake.ssh_signed(rq)
    fake.script = [fs.answer(200, {"policy": text.decode(), "seq": 1, "sha256": "x", "time": "t"})]
    assert ctl("policy", "show", "--output", "table").stdout == text.decode()


def test_table_on_a_terminal(ctl, fake):
    fake.script = [fs.answer(200, {"identity": {"kind": "ci", "name": "build"}, "roles": ["signer", "reader"]})]
    try:
        primary, secondary = pty.openpty()
    except OSError as e:
        pytest.skip(f"no pseudo-terminal here: {e}")
    subprocess.run([KMSCTL, "whoami"], env=ctl.env, stdout=secondary, check=True, timeout=30)
    os.close(secondary)
    text = os.read(primary, 4096).decode()
    os.close(primary)
    assert "identity.name      build" in text and "signer, reader" in text


def test_nested_answers_as_a_table(ctl, fake):
    fake.script = [fs.answer(200, {"keys": {"active": 1}, "lanes": [{"index": 0, "state": "ready"}], "log": {"seq": 3, "hash": "ab", "time": "t"}})]
    lines = [line.split() for line in ctl("whoami", "-o", "table").stdout.splitlines()]
    assert lines == [["keys.active", "1"], ["lanes[0].index", "0"], ["lanes[0].state", "ready"], ["log", "3:ab"]]


@pytest.mark.parametrize("answer", [{}, {"ready": False}, {"lanes": [{}], "warnings": [{}], "certificates": [{"name": "ca", "not_after": "x"}], "log": {}},
                                    {"lanes": {}, "doors": 1, "keys": [], "token": "x", "time": [], "warnings": "w", "snapshot": 2, "started": "now"},
                                    {"origin": "a\x1b[2J\nb", "policy": "\x1b[1m" * 3000, "warnings": [{"what": "\x1b[31m", "do": "\n"}]}])
def test_odd_status(ctl, fake, answer):
    """Of another version, or of a liar: nothing breaks, and no control character reaches the terminal."""
    fake.script = [fs.answer(200, answer)]
    done = ctl("status", "-o", "table")
    assert done.returncode == 0 and "certificates  yours" in done.stdout and "\x1b" not in done.stdout, done
    assert done.stdout.splitlines()[0].endswith({True: ": ready", False: ": NOT READY", None: ": answers"}[answer.get("ready")])


def test_full_disk_on_standard_output(ctl, fake):
    for argv in (["whoami"], ["--help"], ["key", "--help"], ["help", "sign"], ["--version"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([KMSCTL, *argv], env=ctl.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=30)
        assert done.returncode == 1 and "standard output" in done.stderr, argv


def test_a_download_ends_where_the_log_ended(ctl, fake, tmp_path):
    """This log grows by more with each answer than the answer holds."""
    lines = []

    def grow_and_answer(rq):
        for _ in range(4):
            prev = hashlib.sha256(lines[-1]).hexdigest() if lines else "0" * 64
            lines.append(json.dumps({"event": "daemon.start", "prev": prev, "seq": len(lines)}).encode())
        query = dict(parse_qsl(urlsplit(rq.path).query))
        first = len(lines) - 1 if query.get("order") == "desc" else int(query.get("after", -1)) + 1
        return 200, {"Content-Type": "application/jsonl"}, b"".join(line + b"\n" for line in lines[first:first + 3])

    fake.script = [grow_and_answer] * 40
    done = ctl("audit", "download", "copy")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["head"]["seq"] == 5 and len(fake.requests) == 3  # record 3 was the last one; pages have three
    segment, = (tmp_path / "copy").glob("*.jsonl")
    assert segment.read_bytes() == b"".join(line + b"\n" for line in lines[:6])
