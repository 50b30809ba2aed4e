"""kmsctl against a service that lies: what it does not say must not become a result."""
import base64
import json
import os

import pytest

import fake_service as fs
from test_client import ctl, fake, files, pki  # noqa: F401  (fixtures)

ALLOW = {"decision": "allow", "signed_before": False, "rule": "signer/demo", "policy": "ab" * 32, "request_id": "req-1"}
NO_DECISION = {
    "empty": {}, "denied": {**ALLOW, "decision": "deny"}, "no text": {**ALLOW, "decision": True}, "unsaid": {k: v for k, v in ALLOW.items() if k != "decision"},
    "no rule": {k: v for k, v in ALLOW.items() if k != "rule"}, "long rule": {**ALLOW, "rule": "r" * 200}, "before": {**ALLOW, "signed_before": "no"},
}


@pytest.mark.parametrize("kind", sorted(NO_DECISION) + ["signature"])
def test_a_dry_run_that_nobody_decided(ctl, fake, kind):
    """An answer that does not say `allow` is no permission, alone and in a batch."""
    fake.script = [lambda rq: fs.answer(200, NO_DECISION.get(kind) or fake.signature(rq.json()))] if kind != "empty" else [fs.answer(200, {})]
    done = ctl("sign", "app.zip", "--version", "1.0.0", "--dry-run")
    assert done.returncode == 1 and not done.stdout and "not what was asked for" in done.stderr, (done.stdout, done.stderr)


@pytest.mark.parametrize("kind", sorted(NO_DECISION))
def test_dry_runs_that_nobody_decided(ctl, fake, tmp_path, kind):
    fake.script = [fs.answer(200, {"failed": 0, "items": [ALLOW, NO_DECISION[kind], ALLOW]})]
    done = ctl("sign", *files(tmp_path, 3), "--version", "1.0.0", "--dry-run")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and [line.get("decision") for line in lines] == ["allow", None, "allow"], done.stdout
    assert lines[1]["error"]["slug"] == "bad-request"


@pytest.mark.parametrize("request_id", ["req-\xff\x9b31m", "\xe2\x82", "r" * 254 + "\xc3\xa9"], ids=["bytes", "half", "cut"])
def test_a_request_id_that_is_no_text(ctl, fake, tmp_path, request_id):
    """Headers are bytes: what is no text in them must not swallow the result that they are printed with."""
    fake.script = [lambda rq: fs.answer(200, fake.signature(rq.json()), X_Request_Id=request_id)]
    done = ctl("sign", "app.zip", "--version", "1.0.0")
    assert done.returncode == 0 and json.loads(done.stdout)["envelope_file"] == "app.zip.dsse.json", done
    assert json.loads(done.stdout)["request_id"].isascii() and (tmp_path / "app.zip.dsse.json").exists()
    fake.script = [fs.answer(200, ALLOW, X_Request_Id=request_id)]
    assert json.loads(ctl("sign", "app.zip", "--version", "1.0.1", "--dry-run").stdout)["decision"] == "allow"


# Certificates that the service issues

def who(kind="ci"):
    return fs.answer(200, {"identity": {"name": "build", "kind": kind}})


def issued(pem):
    return fs.answer(201, {"certificate": pem, "identity": {"name": "build"}, "record": {"seq": 1, "hash": "aa"}})


@pytest.fixture
def own(ctl, pki, tmp_path):
    """kmsctl with a certificate and key of its own, which a test may spoil."""
    for name in ("client.pem", "client.key"):
        (tmp_path / name).write_bytes(open(pki(name), "rb").read())
    ctl.env.update(KMS_CERT=str(tmp_path / "client.pem"), KMS_KEY=str(tmp_path / "client.key"))
    return ctl


@pytest.mark.parametrize("what", ["server.pem", "ca.pem", "junk", "two", None])
def test_renew_keeps_a_certificate_that_works(own, fake, pki, tmp_path, what):
    """What is for another key, or no certificate, does not take the place of the certificate in use."""
    before = (tmp_path / "client.pem").read_text()
    pem = {"junk": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "two": before + open(pki("ca.pem")).read(), None: 7}.get(what)
    fake.script = [who(), issued(pem or open(pki(what)).read())]
    done = own("renew")
    assert done.returncode == 1 and "client.pem is as it was" in done.stderr and "BEGIN" not in done.stdout, done
    assert (tmp_path / "client.pem").read_text() == before
    fake.script = [who(), issued(before)]
    assert own("renew").returncode == 0 and (tmp_path / "client.pem").read_text() == before


def test_renew_does_not_write_over_a_key(own, fake, tmp_path):
    """Key and certificate in one file: replaced by the certificate alone, the key would be gone."""
    both = tmp_path / "both.pem"
    both.write_text((tmp_path / "client.key").read_text() + (tmp_path / "client.pem").read_text())
    before, pem = both.read_text(), (tmp_path / "client.pem").read_text()
    done = own("renew", KMS_CERT=str(both), KMS_KEY=str(both))
    assert done.returncode == 2 and "private key" in done.stderr and "--cert-out" in done.stderr and not fake.requests, done.stderr
    assert both.read_text() == before
    fake.script = [who(), issued(pem)]
    assert own("renew", "--cert-out", "new.pem", KMS_CERT=str(both), KMS_KEY=str(both)).returncode == 0 and (tmp_path / "new.pem").read_text() == pem


def test_what_is_issued_has_a_place(own, fake, pki, tmp_path):
    """A file that cannot be written is told before the identity is made; where the disk fails later the certificate is in the output."""
    create = ["identity", "create", "build", "--kind", "ci", "--csr", pki("client.csr"), "--cert-out"]
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for out in ("nowhere/build.pem", "client.key", "folder", "pipe"):
        done = own(*create, out)
        assert done.returncode == 2 and out in done.stderr and not fake.requests
    assert "PRIVATE KEY" in (tmp_path / "client.key").read_text() and (tmp_path / "pipe").is_fifo()
    long = "x" * 250 # leaves no room for the name that a file has before it is whole
    for script, words in (([], create), ([who()], ["renew", "--cert-out"])):
        fake.script = [*script, issued((tmp_path / "client.pem").read_text())]
        done = own(*words, long)
        assert done.returncode == 1 and "it is in the output" in done.stderr, done.stderr
        assert json.loads(done.stdout)["certificate"] == (tmp_path / "client.pem").read_text()


def test_create_refuses_a_certificate_for_another_key(own, fake, pki, tmp_path):
    fake.script = [issued(open(pki("server.pem")).read())]
    done = own("identity", "create", "build", "--kind", "ci", "--csr", pki("client.csr"), "--cert-out", "build.pem")
    assert done.returncode == 1 and "another key" in done.stderr and not (tmp_path / "build.pem").exists()


# Bare signatures over a digest

def digest_answer(rq, sig, **change):
    body = rq.json()
    return {"request_id": "req-1", "key": body["key"], "key_version": 1, "scheme": "digest", "record": {"seq": 42, "hash": "cd" * 32},
            "digest": body["digest"], "signature": base64.b64encode(sig).decode(), **change}


def over_digest(pki, data=b"bundle\n"):
    """DER over the SHA-256 of the data, and r || s."""
    der = fs.run("openssl", "dgst", "-sha256", "-sign", pki("release.key"), input=data).stdout
    numbers = [line.split(":")[-1] for line in fs.run("openssl", "asn1parse", "-inform", "DER", input=der).stdout.decode().splitlines() if "INTEGER" in line]
    return der, b"".join(bytes.fromhex(number.rjust(64, "0")) for number in numbers)


def with_raw(raw):
    return {"signature_raw": base64.b64encode(raw).decode()}


RAW = {"other": lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "short": lambda raw: raw[:-1], "long": lambda raw: raw + b"\0", "swapped": lambda raw: raw[32:] + raw[:32]}


@pytest.mark.parametrize("kind", sorted(RAW))
def test_r_and_s_are_those_of_the_signature(ctl, fake, pki, tmp_path, kind):
    """--raw writes what stands beside the DER: it must be the same signature."""
    der, raw = over_digest(pki)
    fake.script = [lambda rq: fs.answer(200, digest_answer(rq, der, **with_raw(RAW[kind](raw))))]
    done = ctl("sign", "app.zip", "--version", "1.0.0", "--raw")
    assert done.returncode == 1 and "signature_raw" in done.stderr and not (tmp_path / "app.zip.sig").exists(), done
    fake.script = [lambda rq: fs.answer(200, digest_answer(rq, der, **with_raw(raw)))]
    assert ctl("sign", "app.zip", "--version", "1.0.0", "--raw").returncode == 0 and (tmp_path / "app.zip.sig").read_bytes() == raw


def test_files_that_cannot_be_written(ctl, fake, tmp_path):
    """Signed, but no file: that is no success, for one, for some and for all of them."""
    names = files(tmp_path, 3)
    for name in names:
        (tmp_path / f"{name}.dsse.json").unlink(missing_ok=True)
        (tmp_path / f"{name}.dsse.json/x").mkdir(parents=True)
        done = ctl("sign", *names, "--version", "1.0.0")
        assert done.returncode == 1 and f"{name}.dsse.json" in done.stderr, done
    assert "3 of 3 files were not signed" in done.stderr and {json.loads(line)["error"]["slug"] for line in done.stdout.splitlines()} == {"local"}
    assert ctl("sign", names[0], "--version", "1.0.0").returncode == 1


def test_what_is_no_file_stays_what_it_is(ctl, fake, tmp_path):
    """As root, an envelope in the place of a device would be the end of the device."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for out in ("pipe", "null"):
        done = ctl("sign", "app.zip", "--version", "1.0.0", "--output-file", out)
        assert done.returncode == 1 and f"{out} is no regular file" in done.stderr, done
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "null").is_symlink()
    done = ctl("sign", "app.zip", "--version", "1.0.0", "--output-file", "nowhere/out")
    assert done.returncode == 1 and "writing nowhere/out: No such file" in done.stderr


def test_the_envelope_does_not_take_the_place_of_the_artifact(ctl, fake, tmp_path):
    (tmp_path / "link.zip").hardlink_to(tmp_path / "app.zip")
    for out in ("app.zip", "./app.zip", "link.zip"):
        done = ctl("sign", "app.zip", "--version", "1.0.0", "--output-file", out)
        assert done.returncode == 2 and "--output-file" in done.stderr and not fake.requests, done
    assert (tmp_path / "app.zip").read_bytes() == b"bundle\n"


# kmsctl sign --pub

def wrong_signature(fake):
    """A statement that is right in all it says, signed with another key that calls itself by the name of the right one."""
    def one(rq):
        obj = fake.signature(rq)
        sig = fs.run("openssl", "dgst", "-sha256", "-sign", fake.pki("server.key"), input=base64.b64decode(obj["envelope"]["payload"])).stdout
        obj["envelope"]["signatures"][0]["sig"] = base64.b64encode(sig).decode()
        return obj
    return one


def test_pub_verifies_before_it_writes(ctl, fake, pki, tmp_path):
    forged = wrong_signature(fake)
    fake.script = [lambda rq: fs.answer(200, forged(rq.json()))]
    done = ctl("sign", "app.zip", "--version", "1.0.0", "--pub", pki("release.pem"))
    assert done.returncode == 1 and "does not verify" in done.stderr and "req-1" in done.stderr, done.stderr
    fs.run("openssl", "x509", "-in", pki("server.pem"), "-noout", "-pubkey", "-out", tmp_path / "other.pem")
    assert ctl("sign", "app.zip", "--version", "1.0.0", "--pub", "other.pem").returncode == 1
    assert not (tmp_path / "app.zip.dsse.json").exists()
    requests = len(fake.requests)
    assert ctl("sign", "app.zip", "--version", "1.0.0", "--pub", "missing.pem").returncode == 1
    assert ctl("sign", "app.zip", "--version", "1.0.0", "--pub", pki("release.pem"), "--dry-run").returncode == 2 and len(fake.requests) == requests
    fake.environment = "development"
    assert ctl("sign", "app.zip", "--version", "1.0.0", "--pub", pki("release.pem")).returncode == 0 and (tmp_path / "app.zip.dsse.json").exists()


def test_pub_verifies_each_of_a_batch(ctl, fake, pki, tmp_path):
    forged, names = wrong_signature(fake), files(tmp_path, 3)

    def reply(rq):
        items = [forged(item) if item["name"] == "f1.zip" else fake.signature(item) for item in rq.json()["items"]]
        return fs.answer(200, {"failed": 0, "items": items})
    fake.script = [reply]
    done = ctl("sign", *names, "--version", "1.0.0", "--pub", pki("release.pem"))
    assert done.returncode == 1 and "1 of 3 files were not signed" in done.stderr, done.stderr
    assert [(tmp_path / f"{name}.dsse.json").exists() for name in names] == [True, False, True]


def test_pub_verifies_bare_signatures(ctl, fake, pki, tmp_path):
    good, _ = over_digest(pki)
    other, _ = over_digest(pki, b"other\n")
    for sig, scheme, code in ((other, "digest", 1), (good, "digest-pkcs1", 1), (good[:-1], "digest", 1), (good, "digest", 0)):
        fake.script = [lambda rq, sig=sig, scheme=scheme: fs.answer(200, digest_answer(rq, sig, scheme=scheme))]
        done = ctl("sign", "app.zip", "--version", "1.0.0", "--pub", pki("release.pem"))
        assert done.returncode == code and (tmp_path / "app.zip.sig").exists() == (not code), done


def test_a_batch_that_waits(ctl, fake, tmp_path):
    """As for one: 4, and the request that it waits for."""
    fake.script = [fs.answer(202, {"request_id": "req-9"}, Location="/v1/requests/req-9")]
    done = ctl("sign", *files(tmp_path, 2), "--version", "1.0.0")
    assert done.returncode == 4 and "waits for approval" in done.stderr and "2 of 2 files were not signed" in done.stderr, done
    assert [json.loads(line)["error"]["request_id"] for line in done.stdout.splitlines()] == ["req-9"] * 2


@pytest.mark.parametrize("people", ["full", "folder", "link"])
def test_a_handle_that_cannot_be_kept(ctl, fake, pki, tmp_path, people):
    """Told with the handle, and with why; the file of people is no way to another file."""
    fs.run("openssl", "req", "-new", "-key", pki("client.key"), "-subj", "/", "-out", tmp_path / "ada.csr")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    fake.script = [fs.answer(201, {"identity": {"name": "h-0123456789abcdef"}, "record": {"seq": 1, "hash": "aa"}})]
    name = "/dev/full" if people == "full" else people
    done = ctl("identity", "create", "Ada", "--kind", "human", "--csr", "ada.csr", "--ssh", pki("id.pub"), "--people", name)
    if people == "full":
        assert done.returncode == 1 and "h-0123456789abcdef was created" in done.stderr and "No space left" in done.stderr, done
    else:
        assert done.returncode == 2 and not fake.requests and not (tmp_path / "other").exists()


# Lists

def page(following, *seqs):
    items = [{"record": {"seq": seq, "event": "daemon.start"}, "hash": "ab" * 32} for seq in seqs]
    return fs.answer(200, {"items": items, "next": following, "indexed": 100})


@pytest.mark.parametrize("words, following", [([], (50, 40, 60)), ([], (50, 40, 50)), (["--oldest-first"], (10, 20, 15)), ([], (50, 200))])
def test_pages_that_go_back(ctl, fake, words, following):
    """Pages that lead round and round would be asked for without end."""
    fake.script = [page(n) for n in following] + [fs.answer(500, {})] * 3
    done = ctl("audit", "search", *words)
    assert done.returncode == 1 and "does not come to an end" in done.stderr and len(fake.requests) == len(following), done.stderr


def test_a_page_before_the_first(ctl, fake):
    fake.script = [page(50), page(-5)]
    done = ctl("audit", "search")
    assert done.returncode == 1 and "no page of its log" in done.stderr


def test_following_pages_that_go_back(ctl, fake):
    fake.script = [page(n) for n in (50, 60, 55)] + [fs.answer(500, {})]
    done = ctl("audit", "follow", "--after", "10")
    assert done.returncode == 1 and "does not come to an end" in done.stderr and len(fake.requests) == 3, done.stderr


def test_one_long_cell_does_not_widen_the_others(ctl, fake):
    keys = [{"name": f"k{n}", "version": 1, "state": "active"} for n in range(200)]
    keys[7]["algorithm"] = "x" * 100000
    fake.script = [fs.answer(200, {"items": keys, "next": None})]
    done = ctl("key", "list", "--output", "table")
    assert done.returncode == 0 and "x" * 100000 in done.stdout and len(done.stdout) < 200000
    assert len({line.index("active") for line in done.stdout.splitlines() if "active" in line and "xxx" not in line}) == 1
