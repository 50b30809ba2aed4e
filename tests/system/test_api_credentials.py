"""Identities that prove themselves with certificates of somebody else's CA: bound by certificate, SPIFFE id or DNS name."""
import itertools
import re
import ssl
import time

import pytest

from apitest import new_source, refused
from kms import BIN, Client, Connection, Instance, run

_numbers = itertools.count(1)


class Ca:
    """A certificate authority of the test's own."""

    def __init__(self, directory, name):
        self.dir, self.cert, self.key = directory, directory / f"{name}.ca.pem", directory / f"{name}.ca.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.cert,
            "-subj", f"/CN={name}", "-days", "10", "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, names="", usage="clientAuth", ca="FALSE", days=5):
        """A client certificate; names as in OpenSSL's subjectAltName, say URI:spiffe://example.org/a,DNS:a.example.org."""
        stem = self.dir / f"client-{next(_numbers)}"
        key, cert, request, extensions = (stem.with_suffix(suffix) for suffix in (".key", ".pem", ".csr", ".ext"))
        lines = [f"basicConstraints=critical,CA:{ca}", f"extendedKeyUsage={usage}" if usage else "", f"subjectAltName={names}" if names else ""]
        extensions.write_text("\n".join(lines) + "\n")
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request,
            "-subj", "/CN=admin")
        run("openssl", "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-out", cert, "-days", str(days), "-extfile", extensions,
            "-set_serial", str(next(_numbers) + 1000))
        return Client(cert, key)


@pytest.fixture(scope="module")
def kms(tmp_path_factory):
    """An instance whose doors accept two more CAs, left and right."""
    directory = tmp_path_factory.mktemp("credentials")
    instance = Instance(directory / "dir").start()
    try:
        instance.left, instance.right = Ca(directory, "left"), Ca(directory, "right")
        instance.stranger = Ca(directory, "stranger")
        instance.stop()
        settings = instance.dir / "kmsd.yaml"
        text, count = re.subn(r"client_ca: \[([^\]]+)\]", rf"client_ca: [\1, '{instance.left.cert}', '{instance.right.cert}']", settings.read_text())
        assert count == 1, text
        settings.write_text(text)
        yield instance.start()
    finally:
        instance.stop(check=False)


def bind(kms, **members):
    """An identity with that credential; returns its name."""
    name = f"bound-{next(_numbers)}"
    answer = kms.signed("POST", "/v1/identities", {"kind": "ci", "name": name, **members}, source=new_source())
    assert answer.status == 201 and "certificate" not in answer.json, answer
    return name


def whoami(kms, client):
    return kms.request("ci", "GET", "/v1/whoami", cert=client, source=new_source())


def test_bound_certificate(kms):
    client, other = kms.left.issue(), kms.left.issue()
    name = bind(kms, certificate=client.cert.read_text())
    assert whoami(kms, client).json["identity"]["name"] == name
    record = refused(kms, whoami(kms, other), 403, "forbidden", "auth.refused")
    assert record["actor"]["name"] == "" and record["actor"]["kind"] == "unknown"


@pytest.mark.parametrize("member, kind, value", [("spiffe", "URI", "spiffe://example.org/ns/ci/{}"), ("dns", "DNS", "runner-{}.example.org")])
def test_bound_name(kms, member, kind, value):
    """A name counts under the CA it was bound to and under no other, however trusted that one is in the handshake."""
    value = value.format(next(_numbers))
    name = bind(kms, **{member: value, "ca": kms.left.cert.read_text()})
    for _ in range(2):
        assert whoami(kms, kms.left.issue(f"{kind}:{value}")).json["identity"]["name"] == name
    for client in (kms.right.issue(f"{kind}:{value}"), kms.left.issue(f"{kind}:{value}x"),
                   kms.left.issue(f"{'DNS' if kind == 'URI' else 'URI'}:{value}"),
                   kms.left.issue(f"email:{member}@example.org")):
        refused(kms, whoami(kms, client), 403, "forbidden", "auth.refused")
    shown = kms.request("admin", "GET", f"/v1/identities/{name}").json["credentials"]
    assert [(c["kind"], c["value"]) for c in shown] == [(member, value)]
    body = {"kind": "ci", "name": name + "-b", member: value, "ca": kms.left.cert.read_text()}
    again = kms.signed("POST", "/v1/identities", body, source=new_source())
    refused(kms, again, 409, "already-exists", "identity.create")
    assert kms.signed("POST", f"/v1/identities/{name}/disable", {"reason": "test"}).status == 200
    refused(kms, whoami(kms, kms.left.issue(f"{kind}:{value}")), 403, "forbidden", "auth.refused")


def test_same_name_under_two_cas(kms):
    value = f"spiffe://example.org/twin/{next(_numbers)}"
    names = [bind(kms, spiffe=value, ca=ca.cert.read_text()) for ca in (kms.left, kms.right)]
    assert [whoami(kms, ca.issue(f"URI:{value}")).json["identity"]["name"] for ca in (kms.left, kms.right)] == names


def test_certificate_of_two_identities(kms):
    """Whoever could be two is nobody."""
    ca = kms.left.cert.read_text()
    values = [f"two-{next(_numbers)}.example.org" for _ in range(2)]
    for value in values:
        bind(kms, dns=value, ca=ca)
    refused(kms, whoami(kms, kms.left.issue(",".join(f"DNS:{value}" for value in values))), 403, "forbidden", "auth.refused")


def test_names_count_under_a_ca_only(kms):
    """Whoever holds the key of a plain certificate must not be able to make identities of it."""
    body = {"kind": "ci", "name": "leaf", "dns": "leaf.example.org", "ca": kms.left.issue().cert.read_text()}
    refused(kms, kms.signed("POST", "/v1/identities", body, source=new_source()), 400, "bad-certificate", "identity.create")


def test_wildcards_match_nothing(kms):
    refused(kms, kms.signed("POST", "/v1/identities", {"kind": "ci", "name": "wild", "dns": "*.example.org", "ca": kms.left.cert.read_text()},
                            source=new_source()), 400, "bad-name", "identity.create")
    bind(kms, dns="one.wild.example.org", ca=kms.left.cert.read_text())
    refused(kms, whoami(kms, kms.left.issue("DNS:*.wild.example.org")), 403, "forbidden", "auth.refused")


@pytest.mark.parametrize("member, value", [
    ("spiffe", "https://example.org/a"), ("spiffe", "spiffe://"), ("spiffe", "spiffe://a b"), ("spiffe", "SPIFFE://a/b"), ("dns", ""),
    ("dns", "a\tb"), ("dns", "caf\u00e9.example.org"),
])
def test_names_that_are_none(kms, member, value):
    answer = kms.signed("POST", "/v1/identities", {"kind": "ci", "name": "none", member: value, "ca": kms.left.cert.read_text()}, source=new_source())
    refused(kms, answer, 400, "bad-name", "identity.create")


@pytest.mark.parametrize("make", [
    lambda kms: kms.stranger.issue(), lambda kms: kms.left.issue(usage="serverAuth"), lambda kms: kms.left.issue(usage=""),
    lambda kms: kms.left.issue(days=-1), lambda kms: None,
], ids=["CA that the door does not know", "for servers only", "without extended key usage", "expired", "none at all"])
def test_refused_in_the_handshake(kms, make):
    """No HTTP is spoken with such a peer."""
    client = make(kms)
    context = kms.context(client) if client else ssl.create_default_context(cafile=kms.env["KMS_CACERT"])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connection = Connection(kms.address("ci"), context)
        connection.request("GET", "/v1/whoami")


def test_log_verifies(kms):
    """The refused handshakes are counted: a front passes its counts on once a second, the core writes them once a minute and when it stops."""
    time.sleep(1.5)
    kms.stop()
    reasons = {item["reason"] for record in kms.records(event="refusal.summary") for item in record["detail"]["items"]}
    assert reasons, "the refused handshakes were not counted"
    done = run(BIN / "kms-audit", "verify", kms.dir, check=False)
    assert done.returncode == 0, done.stdout
    kms.start()
