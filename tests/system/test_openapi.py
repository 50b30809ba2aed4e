"""docs/openapi.yaml against the code's own tables, against its examples, and against the answers of a running instance."""
import contextlib
import itertools
import json
import re
import signal

import pytest

import schema
from apitest import new_source
from clock import Clock
from kms import ROOT, Answer, Instance, b64, pae, run, sha256

DOCUMENT = schema.load()
SCHEMAS = schema.Schemas(DOCUMENT)
OPERATIONS = {operation["operationId"]: (path, method, operation) for path, method, operation in schema.operations(DOCUMENT)}
JSON = "application/json"
_numbers = itertools.count(1)


def fresh(stem):
    return f"{stem}-{next(_numbers)}"


# The code's tables

def code_routes():
    """{(METHOD, path): (door, action or None, signed, content type of the body)} from the core's route table."""
    actions = dict(re.findall(r'X\((\w+), "([a-z.]+)"\)', (ROOT / "policy" / "policy.h").read_text()))
    row = re.compile(r'\{DOOR_(\w+), "(\w+)", "([^"]+)", "[^"]+", POLICY_(\w+), (\w+), (\w+), (NULL|"[^"]+"), \w+\},')
    source = (ROOT / "kmsd" / "core" / "route.c").read_text()
    table = source[source.index("ROUTES[] = {"):source.index("#define N_ROUTES")]
    rows = row.findall(table)
    assert len(rows) == len(re.findall(r"^    \{", table, re.MULTILINE))
    return {(method, path): (door.lower(), None if flags == "ROUTE_OPEN" else actions[action], flags == "ROUTE_SIGNED",
                             None if size == "0" or path == "/v1/nonce" else JSON if kind == "NULL" else kind.strip('"'))
            for door, method, path, action, flags, size, kind in rows}


def code_problems():
    """{slug: (status, title)} from the table of errors."""
    rows = re.findall(r'X\(\w+,\s*(\d+), "([^"]+)",\s*"([^"]+)"', (ROOT / "base" / "err.h").read_text())
    assert len(rows) > 20
    return {slug: (int(status), title) for status, slug, title in rows}


def test_routes():
    described = {}
    for path, method, operation in schema.operations(DOCUMENT):
        body = operation.get("requestBody", {"content": {None: None}})["content"]
        assert len(body) == 1
        described[method, re.sub(r"\{\w+\}", "{}", path)] = (operation["x-door"], operation.get("x-action"), operation["x-signed"], next(iter(body)))
    assert described == code_routes()


def test_problems():
    problems = code_problems()
    assert DOCUMENT["components"]["schemas"]["Problem"]["properties"]["type"]["enum"] == [f"urn:kmsd:problem:{slug}" for slug in problems]
    shown = {}
    for response in DOCUMENT["components"]["responses"].values():
        for slug, example in response["content"]["application/problem+json"]["examples"].items():
            assert example["value"]["type"] == f"urn:kmsd:problem:{slug}"
            shown[slug] = (example["value"]["status"], example["value"]["title"])
    assert shown == problems


# The document itself

def test_references():
    used = {node["$ref"] for node in schema.walk(DOCUMENT) if "$ref" in node}
    for reference in used:
        assert SCHEMAS.resolve({"$ref": reference}) is not None
    kinds = ("schemas", "parameters", "responses", "headers")
    unused = {f"#/components/{kind}/{name}" for kind in kinds for name in DOCUMENT["components"][kind]} - used
    # Other methods of a path, and requests that never became one, belong to no operation.
    assert unused == {"#/components/responses/MethodNotAllowed", "#/components/responses/Timeout"}


def test_objects_are_closed():
    for node in schema.walk(DOCUMENT["components"]["schemas"]):
        if node.get("type") == "object":
            assert node["additionalProperties"] is False and set(node.get("required", [])) <= set(node["properties"]), node


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(name):
    path, method, operation = OPERATIONS[name]
    parameters = [SCHEMAS.resolve(p) for p in operation.get("parameters", [])]
    named = {(p["in"], p["name"]) for p in parameters}
    statuses = set(operation["responses"])
    assert {p for where, p in named if where == "path"} == set(re.findall(r"\{(\w+)\}", path))
    assert (("header", "Kms-Signature") in named) == operation["x-signed"] == ("401" in statuses)
    assert (("header", "Idempotency-Key") in named) == (method != "GET" and name not in ("nonce", "policy-check"))
    assert ("requestBody" in operation) == ("415" in statuses)
    assert {"400", "403", "413", "431", "500", "503"} <= statuses and {s for s in statuses if s < "300"} in ({"200"}, {"201"}, {"201", "202"})
    for status, response in operation["responses"].items():
        headers = SCHEMAS.resolve(response)["headers"]
        assert "X-Request-Id" in headers and ("Retry-After" in headers) == (status in ("429", "503"))


def examples():
    def of(where, content):
        for media, described in content.items():
            for name, example in described["examples"].items():
                yield pytest.param(described["schema"], example["value"], id=f"{where}-{media}-{name}")
    for name, (_, _, operation) in OPERATIONS.items():
        yield from of(name, operation.get("requestBody", {"content": {}})["content"])
        for status, response in operation["responses"].items():
            if "$ref" not in response:
                yield from of(f"{name}-{status}", response["content"])
    for name, response in DOCUMENT["components"]["responses"].items():
        yield from of(name, response["content"])


@pytest.mark.parametrize("described, value", examples())
def test_example(described, value):
    SCHEMAS.check(described, value)


def example_of(name, status, media, which):
    return OPERATIONS[name][2]["responses"][status]["content"][media]["examples"][which]["value"]


def test_example_envelope_verifies(tmp_path):
    """The examples belong together: key, envelope, forms of the public key."""
    key, envelope = example_of("keys-show", "200", JSON, "key"), example_of("sign", "200", JSON, "signed")["envelope"]
    payload = b64(envelope["payload"])
    (tmp_path / "pub").write_text(key["public_key"])
    (tmp_path / "sig").write_bytes(b64(envelope["signatures"][0]["sig"]))
    (tmp_path / "pae").write_bytes(pae(payload, envelope["payloadType"]))
    run("openssl", "dgst", "-sha256", "-verify", tmp_path / "pub", "-signature", tmp_path / "sig", tmp_path / "pae")
    der = run("openssl", "pkey", "-pubin", "-in", tmp_path / "pub", "-outform", "DER").stdout
    assert sha256(der) == key["keyid"] == envelope["signatures"][0]["keyid"]
    request = OPERATIONS["sign"][2]["requestBody"]["content"][JSON]["examples"]["bundle"]["value"]
    assert json.loads(payload)["subject"] == [{"digest": {"sha256": request["digest"]["hex"]}, "name": request["name"]}]


@pytest.mark.parametrize("described, value", [
    ({"type": "integer"}, True), ({"type": "integer"}, 1.0), ({"const": 1}, True), ({"type": "string", "pattern": "^a$"}, "a\n"),
    ({"type": "object", "additionalProperties": False, "properties": {}}, {"a": 1}), ({"required": ["a"]}, {}), ({"maxLength": 1}, "ab"),
    ({"enum": ["a"]}, "b"), ({"oneOf": [{"type": "string"}, {"const": "a"}]}, "a"), ({"items": {"type": "null"}}, [None, 0]), ({"minimum": 1}, 0),
    ({"maxItems": 1}, [1, 2]), ({"unheardOf": 1}, 1), ({"properties": {"a": {"type": "null"}}}, {"a": 1}), ({"pattern": r"^\d$"}, "\u0661"),
])
def test_validator_refuses(described, value):
    """The judge is judged too."""
    assert not SCHEMAS.fits(described, value)


# A running instance

SEEN = set()


def judge(name, answer):
    """The answer is one that the document describes for that operation."""
    operation = OPERATIONS[name][2]
    assert str(answer.status) in operation["responses"], (name, answer)
    response = SCHEMAS.resolve(operation["responses"][str(answer.status)])
    assert answer.type in response["content"], (name, answer)
    text = answer.body.decode()
    SCHEMAS.check(response["content"][answer.type]["schema"], json.loads(text) if answer.type.endswith("json") else text, name)
    SCHEMAS.check(DOCUMENT["components"]["schemas"]["RequestId"], answer.request_id, "X-Request-Id")
    assert ("retry-after" in answer.headers) == (answer.status in (429, 503)) and answer.headers["cache-control"] == "no-store"
    assert (answer.headers.get("www-authenticate") == "Kms-Signature") == (answer.status == 401)
    SEEN.add((name, answer.status, answer.type))
    return answer


def doors(operation):
    return ("ci", "admin") if operation["x-door"] == "both" else (operation["x-door"],)


def certificate(kms):
    """A certificate that belongs to nobody: made like the service's clients', signed by its own key."""
    stem = kms.dir / fresh("openapi")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{stem}.key", "-out", f"{stem}.pem",
        "-subj", "/CN=x", "-days", "9", "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=clientAuth")
    return (kms.dir / f"{stem}.pem").read_text()


def identity(kms):
    name = fresh("openapi-identity")
    kms.new_identity(name)
    return name


def released(kms):
    app = fresh("com.example.openapi")
    assert kms.sign("1.4.0", app=app).status == 200
    return {"app": app, "channel": kms.ci_env["KMS_CHANNEL"], "version": "1.4.0"}


def disabled(kms):
    name = identity(kms)
    assert kms.signed("POST", f"/v1/identities/{name}/disable", {"reason": "x"}).status == 200
    return name


def live_sign(kms, body):
    """The digest example asks a key of its own, which the development policy knows."""
    if "items" in body:
        return None, {"items": [live_sign(kms, one)[1] for one in body["items"]]}
    members = {m: v for m, v in kms.release("1.4.0", app=fresh("com.example.openapi")).items() if m != "digest"}
    if body["digest"]["alg"] != "sha384":
        return None, {**body, **members}
    if kms.request("admin", "GET", "/v1/keys/firmware-p384").status == 404:
        assert kms.signed("POST", "/v1/keys", {"name": "firmware-p384", "algorithm": "p384", "scheme": "digest"}).status == 201
    return None, {**body, **members, "key": "firmware-p384"}


def operation(kms):
    return kms.signed("POST", "/v1/keys", {"name": fresh("openapi-operation"), "algorithm": "p256", "scheme": "statement"}).request_id


def key(kms, *changes):
    """A new key that went through these changes."""
    name = kms.new_key(fresh("openapi-life"))
    for change in changes:
        assert kms.signed("POST", f"/v1/keys/{name}/{change}", {"reason": "x"}).status == 200
    return name


# What replaces the example's own names, so that the request makes sense to this instance; a path with a value in it takes the place of the pattern.
LIVE = {
    "sign": live_sign,
    "operations-show": lambda kms, body: (f"/v1/operations/{operation(kms)}", None),
    "keys-create": lambda kms, body: (None, {**body, "name": fresh("openapi")}),
    "keys-show": lambda kms, body: ("/v1/keys/" + kms.ci_env["KMS_SIGN_KEY"], None),
    "keys-public": lambda kms, body: (f"/v1/keys/{kms.ci_env['KMS_SIGN_KEY']}/public", None),
    "keys-suspend": lambda kms, body: (f"/v1/keys/{key(kms)}/suspend", body),
    "keys-resume": lambda kms, body: (f"/v1/keys/{key(kms, 'suspend')}/resume", body),
    "keys-retire": lambda kms, body: (f"/v1/keys/{key(kms)}/retire", body),
    "keys-destroy": lambda kms, body: (f"/v1/keys/{key(kms, 'suspend')}/destroy", body),
    "keys-restore": lambda kms, body: (f"/v1/keys/{key(kms, 'suspend', 'destroy')}/restore", body),
    "keys-compromise": lambda kms, body: (f"/v1/keys/{key(kms)}/compromise", body),
    "policy-apply": lambda kms, body: (None, kms.request("admin", "GET", "/v1/policy").json["policy"]),
    "identities-create": lambda kms, body: (None, {**body, **{m: v for m, v in {
        "name": fresh("openapi"), "certificate": certificate(kms), "spiffe": f"spiffe://example.org/{fresh('x')}", "dns": fresh("x") + ".example.org",
    }.items() if m in body}}),
    "identities-show": lambda kms, body: ("/v1/identities/" + kms.admin.name, None),
    "identities-disable": lambda kms, body: (f"/v1/identities/{identity(kms)}/disable", body),
    "identities-enable": lambda kms, body: (f"/v1/identities/{disabled(kms)}/enable", body),
    "renew": lambda kms, body: (None, {**body, "csr": run("openssl", "req", "-new", "-key", kms.ci.key, "-subj", "/").stdout.decode()}),
    "identities-renew": lambda kms, body: (f"/v1/identities/{identity(kms)}/credentials", body),
    "releases-withdraw": lambda kms, body: (None, {**body, **released(kms)}),
    "audit-record": lambda kms, body: ("/v1/audit/records/0", None),
    "audit-blob": lambda kms, body: ("/v1/audit/blobs/" + kms.records(event="log.genesis")[0]["policy"], None),
    "time-confirm": lambda kms, body: (None, {**body, "seq": kms.records(event="time.step")[-1]["seq"]}),
}
QUERIES = {"keys-list": ["?limit=1", "?limit=200&after=a"], "identities-list": ["?limit=1", "?after=a"],
           "audit-records": ["?limit=1", "?format=jsonl&limit=3", "?order=desc&since=2026-01-01&until=2999-01-01T00:00:00Z", "?event=sign.release&outcome=ok"],
           "keys-public": ["?format=pem", "?format=jwk", "?format=jwks", "?format=ssh"]}


def send(kms, name, door, path, body, media, cert=None, sign=True):
    """One request as the document describes it."""
    _, method, operation = OPERATIONS[name]
    data = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {"Content-Type": media} if data else {}
    if any(p == {"$ref": "#/components/parameters/IdempotencyKey"} for p in operation.get("parameters", [])):
        headers["Idempotency-Key"] = fresh("openapi")
    if operation["x-signed"] and sign:
        headers["Kms-Signature"] = kms.signature(method, path, data)
        SCHEMAS.check(DOCUMENT["components"]["parameters"]["KmsSignature"]["schema"], headers["Kms-Signature"])
    return judge(name, kms.request(door, method, path, data, headers, cert, new_source()))


def bodies(operation):
    for media, described in operation.get("requestBody", {"content": {None: None}})["content"].items():
        for value in described["examples"].values() if described else [{"value": None}]:
            yield media, value["value"]


@pytest.fixture
def kms_for(kms, tmp_path):
    """The shared instance; for a request about a step of the clock one whose clock was set."""
    with contextlib.ExitStack() as stack:
        def choose(name):
            if name != "time-confirm":
                return kms
            clock = Clock(tmp_path)
            own = stack.enter_context(Instance(tmp_path / "dir", environment=clock.environment))
            clock.set(3600)
            own.wait(lambda: own.records(event="time.step"), what="the step of the clock")
            return own
        yield choose


@pytest.mark.parametrize("name", OPERATIONS)
def test_documented_requests(kms_for, name):
    pattern, _, operation = OPERATIONS[name]
    kms = kms_for(name)
    for door, (media, body) in itertools.product(doors(operation), bodies(operation)):
        for query in [""] + QUERIES.get(name, []):
            path, live = LIVE.get(name, lambda kms, body: (None, body))(kms, body)
            if live is not None:
                SCHEMAS.check(operation["requestBody"]["content"][media]["schema"], live)
            answer = send(kms, name, door, (path or pattern) + query, live, media)
            assert answer.status < 300, answer


@pytest.fixture(scope="module")
def outsider(kms):
    """For each door somebody whom no rule names."""
    return {"ci": kms.new_identity("openapi-outsider"), "admin": kms.new_identity("openapi-person", kind="human")}


@pytest.mark.parametrize("name", OPERATIONS)
def test_documented_refusals(kms, outsider, name):
    pattern, method, operation = OPERATIONS[name]
    plain = re.sub(r"\{\w+\}", "no-such-thing", pattern)
    media, body = next(bodies(operation))
    for door in doors(operation):
        if method == "GET":
            assert send(kms, name, door, plain + "?colour=red", None, None).status == 400
        if "404" in operation["responses"] and "{" in pattern:
            assert send(kms, name, door, plain, body, media).status == 404
        if body is not None:
            assert send(kms, name, door, plain, "{", media).status == 400
            assert send(kms, name, door, plain, "{}", "text/plain").status == 415
        if operation["x-signed"]:
            assert send(kms, name, door, plain, body, media, sign=False).status == 401
        elif "x-action" in operation:
            path = LIVE[name](kms, body)[0] if "{" in pattern else pattern
            assert send(kms, name, door, path, body, media, cert=outsider[door]).status == 403


def test_key_creation_that_takes_long(kms):
    """202 names an operation, which runs and then is done."""
    lane = kms.child("kmsd-token", lane="admin")
    kms.kill(lane, signal.SIGSTOP)
    try:
        answer = send(kms, "keys-create", "admin", "/v1/keys", {"name": fresh("openapi"), "algorithm": "p256", "scheme": "statement"}, JSON)
        assert answer.status == 202, answer
        SCHEMAS.check(DOCUMENT["components"]["headers"]["Location"]["schema"], answer.headers["location"])
        assert send(kms, "operations-show", "admin", answer.headers["location"], None, None).json == answer.json["operation"]
    finally:
        kms.kill(lane, signal.SIGCONT)
    kms.wait(lambda: send(kms, "operations-show", "admin", answer.headers["location"], None, None).json["state"] == "done", what="the key")


FRONT = {
    "no length": (411, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "packed": (415, "Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
    "too long": (413, "Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"),
    "long head": (431, "X-Filler: " + "a" * 9000 + "\r\n\r\n"),
    "many fields": (431, "".join(f"X-{n}: a\r\n" for n in range(80)) + "\r\n"),
    "two lengths": (400, "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "bare line feed": (400, "X-A: a\n\r\n"),
}


@pytest.mark.parametrize("status, rest", FRONT.values(), ids=FRONT)
def test_refusals_of_the_front(kms, status, rest):
    """What never reaches the core is answered in the same form, and ends the connection."""
    got = kms.raw("ci", f"POST /v1/sign HTTP/1.1\r\nHost: localhost\r\n{rest}".encode(), source=new_source())
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    answer = judge("sign", Answer(int(lines[0].split()[1]), [line.split(": ", 1) for line in lines[1:]], body))
    assert status != 413 or "99999999 bytes, this door takes 1048576" in answer.json["detail"]
    assert answer.status == status and answer.request_id.startswith("front-") and answer.headers["connection"].lower() == "close"


def test_every_success_was_seen(kms):
    """What the document promises exists: each status and type of a success came back above."""
    promised = {(name, int(status), media) for name, (_, _, operation) in OPERATIONS.items() for status, response in operation["responses"].items()
                if status < "300" for media in response["content"]}
    assert promised <= SEEN, promised - SEEN
