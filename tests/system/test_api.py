"""Requests that do not parse: each gets its problem, and its record in the log."""
import base64
import json

import pytest

from apitest import new_source, refused
from kms import run

GOOD = {"key": "release", "app": "com.example.app", "channel": "beta", "version": "1.0.0", "digest": {"alg": "sha256", "hex": "a" * 64}}


def text(**members):
    """The good request as JSON text, with members replaced (None = left out)."""
    return json.dumps({name: value for name, value in {**GOOD, **members}.items() if value is not None})


def post(kms, body, headers=None):
    return kms.request("ci", "POST", "/v1/sign", body, headers, source=new_source())


MALFORMED = {
    "nothing": b"",
    "unfinished": b"{",
    "array": b"[]",
    "null": b"null",
    "string": b'"text"',
    "number": b"12",
    "trailing object": text().encode() + b"{}",
    "trailing comma": text().encode()[:-1] + b",}",
    "comment": b"/* */" + text().encode(),
    "single quotes": b"{'key':'release'}",
    "byte order mark": b"\xef\xbb\xbf" + text().encode(),
    "UTF-16": text().encode("utf-16"),
    "not UTF-8": text(source="@").encode().replace(b"@", b"\xff\xfe"),
    "overlong UTF-8": text(source="@").encode().replace(b"@", b"\xc0\xaf"),
    "surrogate in UTF-8": text(source="@").encode().replace(b"@", b"\xed\xa0\x80"),
    "lone surrogate escape": text(source="@").encode().replace(b"@", b"\\ud800"),
    "NUL byte": text(source="@").encode().replace(b"@", b"\0"),
    "NUL escape": text(source="@").encode().replace(b"@", b"\\u0000"),
    "raw line feed in a string": text(source="@").encode().replace(b"@", b"\n"),
    "duplicate member": text().encode()[:-1] + b',"key":"release"}',
    "duplicate member in digest": text().encode().replace(b'"alg"', b'"hex":"00","alg"'),
    "duplicate member by escape": text().encode()[:-1] + b',"\\u006bey":"release"}',
    "17 levels": b'{"key":' + b"[" * 16 + b"]" * 16 + b"}",
    "20,000 levels": b'{"key":' + b"[" * 20000 + b"]" * 20000 + b"}",
    "20,000 levels, open": b'{"key":' + b"[" * 20000,
    "fraction": text(size=1).encode().replace(b'"size": 1', b'"size": 1.0'),
    "exponent": text(size=1).encode().replace(b'"size": 1', b'"size": 1e2'),
    "huge exponent": text(size=1).encode().replace(b'"size": 1', b'"size": 1e9999'),
    "minus zero": text(size=1).encode().replace(b'"size": 1', b'"size": -0'),
    "leading zero": text(size=1).encode().replace(b'"size": 1', b'"size": 01'),
    "2^53": text(size=2 ** 53).encode(),
    "4,000 digits": text(size=1).encode().replace(b'"size": 1', b'"size": ' + b"9" * 4000),
    "NaN": text(size=1).encode().replace(b'"size": 1', b'"size": NaN'),
    "negative size": text(size=-1).encode(),
    "size as text": text(size="12").encode(),
    "size as truth": text(size=True).encode(),
    "key as number": text(key=1).encode(),
    "key as null": text().encode().replace(b'"release"', b"null"),
    "name as null": text(name=1).encode().replace(b'"name": 1', b'"name": null'),
    "digest as text": text(digest="a" * 64).encode(),
    "dry_run as text": text(dry_run="true").encode(),
    "no key": text(key=None).encode(),
    "no digest": text(digest=None).encode(),
    "no hex": text(digest={"alg": "sha256"}).encode(),
    "a member of 2,000 bytes": text(key="a" * 2000).encode(),
    "source of 513 bytes": text(source="a" * 513).encode(),
    "source with a control character": text(source="a\x1bb").encode(),
    "receipt wanted": text(receipt=True).encode(),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_malformed_json(kms, body):
    answer = post(kms, body, {"Content-Type": "application/json"})
    refused(kms, answer, 400, "bad-request", "sign.release")


@pytest.mark.parametrize("body", [
    text(colour="red"), text(Key="release"), text(key_version=1), text(digest={"alg": "sha256", "hex": "a" * 64, "salt": ""}),
    text(**{"\u202ekey": 1}), text(**{"": 1}), text(**{"a" * 5000: 1}),
], ids=["colour", "Key", "key_version", "digest.salt", "bidirectional", "empty", "long"])
def test_unknown_member(kms, body):
    refused(kms, post(kms, body), 400, "unknown-member", "sign.release")


@pytest.mark.parametrize("digest", [
    {"alg": "sha256", "hex": ""}, {"alg": "sha256", "hex": "a" * 63}, {"alg": "sha256", "hex": "a" * 65}, {"alg": "sha256", "hex": "a" * 128},
    {"alg": "sha256", "hex": "A" * 64}, {"alg": "sha256", "hex": "g" * 64}, {"alg": "sha256", "hex": "a" * 63 + "\n"},
    {"alg": "sha256", "hex": "0x" + "a" * 62}, {"alg": "sha256", "hex": " " + "a" * 63}, {"alg": "sha256", "hex": "é" * 32},
    {"alg": "sha512", "hex": "a" * 128}, {"alg": "sha1", "hex": "a" * 40}, {"alg": "SHA256", "hex": "a" * 64}, {"alg": "", "hex": "a" * 64},
], ids=lambda d: f"{d['alg']}-{d['hex'][:6]!r}-{len(d['hex'])}")
def test_digest(kms, digest):
    refused(kms, post(kms, text(digest=digest)), 400, "bad-digest", "sign.release")


@pytest.mark.parametrize("version", [
    "", "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.00.0", "1.0.0-", "1.0.0-01", "1.0.0-a..b", "1.0.0+", "1.0.0+a+b", "1.0.0 ", " 1.0.0", "1.0.0\n",
    "1.0.-1", "1,0,0", "1.0.0-é", "\u0661.0.0", "1.0.0-" + "a" * 123, "latest", "../1.0.0",
])
def test_version(kms, version):
    refused(kms, post(kms, text(version=version)), 400, "bad-version", "sign.release")


@pytest.mark.parametrize("member, value", [
    ("key", ""), ("key", "Release"), ("key", "-a"), ("key", "a" * 65), ("key", "a/b"), ("key", "../a"), ("key", "a b"), ("key", "a\n"), ("key", "é"),
    ("app", ""), ("app", ".a"), ("app", "a" * 129), ("app", "com/example"), ("app", "a+b"), ("channel", ""), ("channel", "Production"),
    ("channel", "a" * 65), ("channel", "a*"), ("name", ""), ("name", "../../etc/passwd"), ("name", "a b"), ("name", "a" * 256), ("name", "_a"),
])
def test_name(kms, member, value):
    refused(kms, post(kms, text(**{member: value})), 400, "bad-name", "sign.release")


def test_largest_body(kms):
    body = text(dry_run=True)
    answer = post(kms, body + " " * (65536 - len(body)))
    assert answer.status == 200, answer


def test_single_request_too_large(kms):
    """The door takes what a batch may have; one request may not."""
    refused(kms, post(kms, text(dry_run=True) + " " * 65536, {"Content-Type": "application/json"}), 413, "too-large", "sign.release")


@pytest.mark.parametrize("length", [(1 << 20) + 1, 1 << 40, 2 ** 64])
def test_body_too_large(kms, length):
    """The announced length is enough: the body need not arrive."""
    head = f"POST /v1/sign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    got = kms.raw("ci", head.encode() + b"{", source=new_source())
    status = int(got.split()[1])
    assert status == 413 or (status == 400 and length == 2 ** 64), got


@pytest.mark.parametrize("content_type, good", [
    ("application/json", True), ("application/json; charset=utf-8", True), ("text/plain", False), ("application/jsonx", False),
    ("application/js", False),
    ("application/yaml", False), ("application/x-www-form-urlencoded", False), ("a" * 200, False),
])
def test_content_type(kms, content_type, good):
    answer = post(kms, text(dry_run=True), {"Content-Type": content_type})
    if good:
        assert answer.status == 200, answer
    else:
        refused(kms, answer, 415, "unsupported-media-type")


@pytest.mark.parametrize("door, method, path, status, slug", [
    ("ci", "GET", "/v1/sign", 405, "method-not-allowed"), ("ci", "DELETE", "/v1/keys/release", 405, "method-not-allowed"),
    ("ci", "PATCH", "/v1/whoami", 405, "method-not-allowed"),
    ("admin", "DELETE", "/v1/policy", 405, "method-not-allowed"), ("ci", "GET", "/", 404, "not-found"), ("ci", "GET", "/v1", 404, "not-found"),
    ("ci", "GET", "/v1/keys/", 404, "not-found"), ("ci", "GET", "/v1//keys", 400, "bad-request"), ("ci", "GET", "/V1/keys", 404, "not-found"),
    ("ci", "GET", "/v1/whoami/", 404, "not-found"), ("ci", "GET", "/v2/whoami", 404, "not-found"),
    ("ci", "GET", "/v1/../v1/whoami", 400, "bad-request"),
    ("ci", "GET", "/v1/keys/" + "a" * 65, 404, "not-found"), ("ci", "GET", "/v1/keys/a/b/public", 404, "not-found"),
    ("ci", "GET", "/v1/keys/%72elease", 400, "bad-name"), ("ci", "GET", "/v1/keys/..", 400, "bad-request"),
    ("ci", "GET", "/v1/policy", 404, "not-found"), ("ci", "PUT", "/v1/policy", 404, "not-found"), ("ci", "POST", "/v1/nonce", 404, "not-found"),
    ("ci", "GET", "/v1/identities", 404, "not-found"), ("ci", "POST", "/v1/keys", 405, "method-not-allowed"),
    ("admin", "POST", "/v1/sign", 404, "not-found"),
    ("ci", "GET", "/v1/whoami?x=1", 400, "unknown-member"), ("ci", "GET", "/v1/whoami?", 200, ""),
    ("ci", "GET", "/v1/keys?limit", 400, "unknown-member"),
    ("ci", "GET", "/v1/keys?limit=0", 400, "bad-request"), ("ci", "GET", "/v1/keys?limit=201", 400, "bad-request"),
    ("ci", "GET", "/v1/keys?limit=1e1", 400, "bad-request"), ("ci", "GET", "/v1/keys?limit=-1", 400, "bad-request"),
    ("ci", "GET", "/v1/keys?limit=99999999999999999999", 400, "bad-request"), ("ci", "GET", "/v1/keys?limit=1&limit=1", 400, "bad-request"),
    ("ci", "GET", "/v1/keys?after=A", 400, "bad-request"), ("ci", "GET", "/v1/keys?after=" + "a" * 65, 400, "bad-request"),
    ("ci", "GET", "/v1/keys/release/public?format=der", 400, "bad-request"),
    ("ci", "GET", "/v1/keys/release/public?format=" + "a" * 20, 400, "bad-request"),
])
def test_target(kms, door, method, path, status, slug):
    answer = kms.request(door, method, path, source=new_source())
    if status == 200:
        assert answer.status == 200, answer
    else:
        refused(kms, answer, status, slug)
        assert (status == 405) == ("allow" in answer.headers) and (status != 405 or answer.headers["allow"] in answer.json["detail"])


def test_allow_lists_the_methods_of_the_door(kms):
    """RFC 9110: 405 says what there is; a path of both doors has other methods at each."""
    for door, method, path, allow in (("ci", "POST", "/v1/keys", "GET"), ("admin", "PUT", "/v1/keys", "GET, POST"), ("admin", "POST", "/v1/policy", "GET, PUT")):
        assert kms.request(door, method, path, source=new_source()).headers["allow"] == allow


def test_query_on_post(kms):
    answer = kms.request("ci", "POST", "/v1/sign?dry_run=true", text(), source=new_source())
    refused(kms, answer, 400, "unknown-member", "sign.release")


def test_body_on_get(kms):
    refused(kms, kms.request("ci", "GET", "/v1/whoami", "{}", source=new_source()), 400, "bad-request", "read.api")


@pytest.mark.parametrize("value", ["a b", "a,b", "a" * 129, "é".encode().decode("latin-1"), "%41", '"quoted"'])
def test_idempotency_key_alphabet(kms, value):
    refused(kms, post(kms, text(), {"Idempotency-Key": value}), 400, "bad-request")


@pytest.mark.parametrize("days", [0, 399, -1, 2 ** 53, "90", 1.5])
def test_days(kms, days):
    body = {"kind": "ci", "name": "days", "csr": "-", "days": days}
    refused(kms, kms.signed("POST", "/v1/identities", body, source=new_source()), 400, "bad-request", "identity.create")


@pytest.mark.parametrize("body", [
    {"kind": "robot", "name": "x", "csr": "-"}, {"kind": "ci", "csr": "-"}, {"kind": "ci", "name": "x"},
    {"kind": "ci", "name": "x", "csr": "-", "dns": "a"},
    {"kind": "ci", "name": "x", "dns": "a.example"}, {"kind": "ci", "name": "x", "csr": "-", "ca": "-"}, {"kind": "human", "name": "x", "csr": "-"},
    {"kind": "human", "csr": "-"}, {"kind": "ci", "name": "x", "csr": "-", "ssh": ["ssh-ed25519 AAAA"]}, {"kind": "human", "csr": "-", "ssh": [1]},
    {"kind": "human", "csr": "-", "ssh": ["a"] * 9},
], ids=lambda b: ",".join(b))
def test_identity_members(kms, body):
    refused(kms, kms.signed("POST", "/v1/identities", body, source=new_source()), 400, "bad-request", "identity.create")


@pytest.mark.parametrize("path, kind", [("/v1/keys", "keys"), ("/v1/identities", "identities")])
def test_pages(kms, path, kind):
    """Page by page the same as at once, in order of name."""
    for number in range(3):
        if kind == "keys":
            answer = kms.signed("POST", path, {"name": f"page-{number}", "algorithm": "p256", "scheme": "statement"})
            assert answer.status in (201, 409), answer
        else:
            kms.new_identity(f"page-{number}")
    every = kms.request("admin", "GET", path + "?limit=200").json["items"]
    found, query = [], "?limit=2"
    while query:
        page = kms.request("admin", "GET", path + query).json
        assert len(page["items"]) == 2 or page["next"] is None
        found += page["items"]
        query = page["next"] and f"?limit=2&after={page['next']}"
    assert found == every and [item["name"] for item in every] == sorted(item["name"] for item in every)
    assert kms.request("admin", "GET", path + "?after=zzzz").json == {"items": [], "next": None}


def test_forms_of_a_public_key(kms, tmp_path):
    """PEM, JWK and SSH are the same key, in the judgement of other programs."""
    path = f"/v1/keys/{kms.ci_env['KMS_SIGN_KEY']}/public"
    pem, jwk, ssh = (kms.request("ci", "GET", path + query) for query in ("", "?format=jwk", "?format=ssh"))
    assert pem.body == kms.request("ci", "GET", path + "?format=pem").body
    (tmp_path / "pem").write_bytes(pem.body)
    assert run("ssh-keygen", "-i", "-m", "PKCS8", "-f", tmp_path / "pem").stdout.split()[:2] == ssh.body.split()[:2]
    point = run("openssl", "pkey", "-pubin", "-in", tmp_path / "pem", "-outform", "DER").stdout[-64:]
    assert base64.urlsafe_b64decode(jwk.json["x"] + "=") + base64.urlsafe_b64decode(jwk.json["y"] + "=") == point


def test_nothing_broke(kms):
    """After all of it the service answers, its processes are the same, and its log holds together."""
    assert post(kms, text(dry_run=True)).status == 200
    assert not kms.records(event="daemon.child")
    kms.check_chain()
