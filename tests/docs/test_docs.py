"""The documents do what they say, and a document that does not is noticed."""
import subprocess
import sys
from pathlib import Path

import pytest

import run_docs

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = [name for name in ("README.md", "docs/operations.md") if (TOP / name).exists()]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document(name):
    steps, _ = run_docs.read(TOP / name)
    if not steps:
        pytest.skip(f"{name} has nothing to type")
    done = subprocess.run([sys.executable, TOP / "tests/docs/run_docs.py", name], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def judge(tmp_path, monkeypatch, text):
    (tmp_path / "doc.md").write_text(text)
    monkeypatch.setattr(run_docs, "TOP", tmp_path)
    return run_docs.check("doc.md")


@pytest.mark.parametrize("text", [
    "```console\n$ echo one\none\n$ export A=2\n```\n```sh\ntest $A = 2\necho five\n```\n```text\nfive\n```\n",
    "```console\n$ printf 'a\\nb\\nc\\nd\\n'\na\n…\nd\n$ echo 2026-03-03T08:09:10.5Z pid 17\n2024-01-01T00:00:00Z pid 4\n```\n",
    "<!-- sh\nB=3\n-->\n```sh\ntest $B = 3\n```\n<!-- not run: on purpose -->\n```sh\nfalse\n```\n",
    "```console\n$ false; echo $?\n1\n$ echo long \\\n> line\nlong line\n$ echo {\"hash\":\"abc\"}\n{hash:…}\n```\n",
    "```\nnot run\n```\n```sh\ntrue\n```\n",
])
def test_what_holds(tmp_path, monkeypatch, text):
    assert judge(tmp_path, monkeypatch, text)


@pytest.mark.parametrize("text", [
    "```sh\nfalse\ntrue\n```\n",
    "```console\n$ false\n```\n",
    "```console\n$ echo one\ntwo\n```\n",
    "```console\n$ printf 'a\\nb\\n'\na\n```\n",
    "```console\n$ printf 'a\\nb\\n'\nb\n…\n```\n",
    "```sh\necho one\n```\n```text\ntwo\n```\n",
    "```sh\nexit 0\n```\n```sh\ntrue\n```\n",
    "nothing to type\n",
])
def test_what_does_not_is_noticed(tmp_path, monkeypatch, text):
    assert not judge(tmp_path, monkeypatch, text)
