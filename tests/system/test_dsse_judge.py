"""An independent DSSE verifier (npm @sigstore/verify 2) judges the envelopes."""
import base64
import json
import os
import shutil
import subprocess

import pytest

from kms import BIN

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


@pytest.fixture(scope="module")
def modules():
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed: the independent DSSE verifier cannot run")
    where = os.path.join(ROOT, "build", "npm")
    os.makedirs(where, exist_ok=True)
    if not os.path.isdir(os.path.join(where, "node_modules", "@sigstore", "verify")):
        got = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", where, "@sigstore/verify@2"], capture_output=True, text=True, timeout=180)
        if got.returncode:
            pytest.skip("npm cannot install @sigstore/verify here: " + got.stderr.strip()[-200:])
    return where


def judge(modules, envelope, pem):
    return subprocess.run(["node", os.path.join(HERE, "dsse_judge.mjs"), modules, str(envelope), str(pem)], capture_output=True, text=True, timeout=60)


def signed(kms, tmp_path):
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(b"PK\x05\x06" + bytes(18))
    env = dict(os.environ, **kms.ci_env)
    subprocess.run([BIN / "kmsctl", "sign", str(bundle), "--version", "7.0.0"], env=env, check=True, capture_output=True, timeout=30)
    pem = tmp_path / "pub.pem"
    pem.write_bytes(subprocess.run([BIN / "kmsctl", "key", "public", "release"], env=env, check=True, capture_output=True, timeout=30).stdout)
    return tmp_path / "bundle.zip.dsse.json", pem


def test_accepted(own_kms, modules, tmp_path):
    envelope, pem = signed(own_kms, tmp_path)
    got = judge(modules, envelope, pem)
    assert got.stdout.strip() == "accepted", got.stderr


def test_altered_is_refused(own_kms, modules, tmp_path):
    envelope, pem = signed(own_kms, tmp_path)
    doc = json.loads(envelope.read_text())
    payload = base64.b64decode(doc["payload"]).replace(b'"7.0.0"', b'"7.0.1"')
    doc["payload"] = base64.b64encode(payload).decode()
    envelope.write_text(json.dumps(doc))
    assert judge(modules, envelope, pem).returncode != 0
