"""kmsctl against a service that lies: what it does not say must not become a result."""
import json

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
