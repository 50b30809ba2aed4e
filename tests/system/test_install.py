"""make install: complete, runnable from another place, and taken away again by make uninstall; the manual pages know every command, option, setting and event."""
import os
import re
import subprocess
from pathlib import Path

import pytest

import kms as kms_module
from kms import BIN, ROOT, run

PAGES = {"kmsd.8", "kmsctl.1", "kms-audit.1", "kmsd.yaml.5", "kmsd-policy.5", "kmsd-log.5", "libkms.3"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    run("make", "-C", ROOT, "install", f"DESTDIR={root}", "PREFIX=/opt/kms", timeout=300)
    return root


def files(root):
    return {str(p.relative_to(root)) for p in Path(root).rglob("*") if not p.is_dir() or p.is_symlink()}


def test_what_is_there(root):
    have = files(root)
    for name in ("bin/kmsd", "bin/kmsctl", "bin/kms-audit", "libexec/kmsd/kmsd-core", "lib/libkms.so.0", "lib/libkms.so", "lib/libkms.a", "include/kms.h",
                 "lib/pkgconfig/libkms.pc", "lib/systemd/system/kmsd.service", "lib/sysusers.d/kmsd.conf", "lib/tmpfiles.d/kmsd.conf",
                 "share/bash-completion/completions/kmsctl", "share/bash-completion/completions/kmsd", "share/kmsd/policy/release.yaml",
                 "share/doc/kmsd/openapi.yaml", "share/doc/kmsd/examples/sign.c"):
        assert f"opt/kms/{name}" in have, name
    assert {Path(name).name for name in have if "/man/" in name} == PAGES
    for name in ("lib/systemd/system/kmsd.service", "lib/pkgconfig/libkms.pc"):
        text = (root / "opt/kms" / name).read_text()
        assert "/opt/kms" in text and not re.search(r"@[A-Z]+@|/usr/local", text), name


def test_documents_lead_to_what_is_there(root):
    """What a page or the unit names is installed, under that name."""
    doc = root / "opt/kms/share/doc/kmsd"
    for page in doc.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (root / link[1:] if link.startswith("/") else doc / link).exists(), (page.name, link)
    assert len(re.findall(r"\]\(", (doc / "README.md").read_text())) > 8
    unit = (root / "opt/kms/lib/systemd/system/kmsd.service").read_text()
    assert (root / re.search(r"file:///(\S+)", unit)[1]).exists()


def test_it_runs_from_there(root, tmp_path, monkeypatch):
    """An instance of the installed programs alone: every process is one of them."""
    prefix = root / "opt/kms"
    monkeypatch.setattr(kms_module, "BIN", prefix / "bin")
    monkeypatch.delenv("KMSD_LIBEXEC", raising=False)
    with kms_module.Instance(tmp_path / "dir") as instance:
        programs = {os.readlink(f"/proc/{pid}/exe") for pid in [instance.pid, *instance.children()]}
        assert {Path(p).name for p in programs} >= {"kmsd", "kmsd-core", "kmsd-front", "kmsd-token"}
        assert all(p.startswith(str(prefix)) for p in programs), programs
        (tmp_path / "app.zip").write_bytes(b"a bundle")
        script = "kmsctl sign app.zip --version 1.0.0 && kmsctl key public $KMS_SIGN_KEY >pub.pem && " \
                 "kmsctl verify app.zip app.zip.dsse.json --pub pub.pem --allow-dev"
        env = {**os.environ, **instance.ci_env, "PATH": f"{prefix}/bin:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    assert b"sound" in run(prefix / "bin/kms-audit", "verify", tmp_path / "dir").stdout


def complete(root, program, *words):
    """What bash would offer for the last word."""
    line = " ".join(f"'{w}'" for w in (program, *words))
    script = f"PATH={root}/opt/kms/bin:$PATH; . {root}/opt/kms/share/bash-completion/completions/{program}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; " \
             f"_{'kmsctl' if program == 'kmsctl' else 'kmsd'} {program}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    return set(run("bash", "-c", script).stdout.decode().split())


def test_completion(root):
    assert {"sign", "verify", "key"} <= complete(root, "kmsctl", "")
    assert complete(root, "kmsctl", "key", "cr") == {"create"}
    assert {"--version", "--dry-run"} <= complete(root, "kmsctl", "sign", "--")
    assert {"run", "init", "check", "settings"} <= complete(root, "kmsd", "")
    assert "--admin-csr" in complete(root, "kmsd", "init", "--ad")
    assert complete(root, "kms-audit", "ver") >= {"verify"}
    assert "--head" in complete(root, "kms-audit", "verify", "--h")


@pytest.fixture(scope="module")
def page(root):
    """name -> its text as a reader sees it, in words without line breaks."""
    def read(name):
        path = root / f"opt/kms/share/man/man{name[-1]}" / name
        done = run("groff", "-Kutf8", "-t", "-man", "-Tutf8", "-P-cbou", "-rLL=1000n", "-rHY=0", "-ww", path)
        assert not done.stderr, done.stderr.decode()
        return done.stdout.decode().replace("\u2010", "-").replace("\u2212", "-")
    return read


def has(text, word):
    return re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text)


def test_kmsctl_page(page):
    text = page("kmsctl.1")
    for line in run(BIN / "kmsctl", "--complete").stdout.decode().splitlines():
        command, options = line.split(":", 1)
        assert f"kmsctl {command}\n" in text, command
        for option in options.split():
            assert has(text, option), (command, option)


@pytest.mark.parametrize("program, name", [("kmsd", "kmsd.8"), ("kms-audit", "kms-audit.1")])
def test_program_pages(page, program, name):
    text = page(name)
    commands = [c for c in re.findall(r"^  ([a-z]+) ", run(BIN / program, "--help").stdout.decode(), re.M)]
    assert len(commands) >= 3
    for command in commands:
        assert has(text, f"{program} {command}"), command
        if command != "version":
            for option in re.findall(r"--[a-z][a-z-]+", run(BIN / program, command, "--help").stdout.decode()):
                assert has(text, option), (command, option)


def test_settings_page(page):
    text = page("kmsd.yaml.5")
    source = (ROOT / "kmsd/settings.c").read_text()
    schema = source[source.index("SCHEMA[] = {"):]
    token = re.findall(r'\{"tokens\." name "\.(\w+)"', source)
    names = re.findall(r'^    \{"([a-z_.]+)"', schema, re.M) + [f"tokens.{which}.{name}" for which in ("keys", "checkpoint") for name in token]
    assert len(names) > 30
    for name in names:
        assert has(text, name), name
    listed = set(re.findall(r"^([a-z_.]+) \(", run(BIN / "kmsd", "settings").stdout.decode(), re.M))
    assert listed == set(names)


def test_policy_page(page):
    text = page("kmsd-policy.5")
    actions = re.findall(r'X\([A-Z_]+, "([a-z.]+)"\)', (ROOT / "policy/policy.h").read_text())
    assert len(actions) > 10
    for action in actions:
        assert re.search(rf"^\s+{re.escape(action)}\n\s+(GET|POST|PUT) /v1/", text, re.M), action
    for member in re.findall(r"^\s*- \{?(\w+):|^\s+(\w+): \[", (ROOT / "policy/examples/release.yaml").read_text(), re.M):
        assert has(text, "".join(member)), member


def test_log_page(page):
    text = page("kmsd-log.5")
    markdown = (ROOT / "docs/log-format.md").read_text()
    for word in set(re.findall(r"`([a-z]+\.[a-z]+|[a-z_]+_[a-z0-9_]+)`", markdown)):
        assert has(text, word), word
    for event in set(re.findall(r'"([a-z]+\.[a-z]+)"', (ROOT / "audit/verify/schema.c").read_text())):
        assert has(text, event), event


def test_library_page(page):
    text = page("libkms.3")
    header = (ROOT / "client/kms.h").read_text()
    for name in set(re.findall(r"\b(kms_[a-z_]+|KMS_[A-Z_0-9]+)\b", header)) - {"KMS_H"}:
        assert has(text, name), name


def test_pages_say_where_their_commands_are(page):
    for name in PAGES:
        text = page(name)
        assert text.startswith(f"{name.rsplit('.', 1)[0]}({name[-1]})") and "SEE ALSO" in text
        for other, section in re.findall(r"\b((?:lib)?km[a-z.-]+)\((\d)\)", text):
            assert f"{other}.{section}" in PAGES, (name, other)


def test_uninstall(tmp_path):
    where = [f"DESTDIR={tmp_path}", "PREFIX=/usr"]
    run("make", "-C", ROOT, "install", *where, timeout=300)
    other = tmp_path / "usr/bin/other"
    other.write_text("not ours")
    run("make", "-C", ROOT, "uninstall", *where)
    assert files(tmp_path) == {"usr/bin/other"}
    assert not (tmp_path / "usr/libexec/kmsd").exists() and not (tmp_path / "usr/share/doc/kmsd").exists()
