"""The container recipe, built without a daemon and run as its own user: an instance in the volume signs a release. Only in make test-package."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

import roots
from roots import TOP, run

RECIPE = TOP / "packaging/container/Containerfile"
BIN = TOP / "build/bin"
USER = 10001
START_SECONDS = 60
POLICY = """version: 1
roles:
  everything:
    - name: all
      allow: [sign, key.create, key.list, key.read, policy.read, policy.apply, status.read]
      keys: ['*']
      apps: ['*']
      channels: ['*']
grants:
  - {role: everything, to: [founders]}
"""


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    if not os.environ.get("KMS_LONG"):
        pytest.skip("needs a minute and buildah: make test-package")
    if not shutil.which("buildah") or os.geteuid() != 0:
        pytest.skip("buildah is not installed, or this is not root")
    store = tmp_path_factory.mktemp("store")
    (store / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    def call(verb, *argv, **more):
        extra = ["--signature-policy", store / "policy.json"] if verb in ("build", "from") else []
        return run("buildah", "--root", store / "root", "--runroot", store / "run", "--storage-driver", "vfs", verb, *extra, *argv, **more)
    return call


@pytest.fixture(scope="module")
def container(buildah, tmp_path_factory):
    """The image over a Debian from this machine's mirror instead of one from a registry."""
    context = tmp_path_factory.mktemp("context")
    try:
        shutil.copy(roots.make_slim(), context / "slim.tar")
    except roots.Unusable as why:
        pytest.skip(str(why))
    (context / "Containerfile").write_text("FROM scratch\nADD slim.tar /\n")
    buildah("build", "--isolation", "chroot", "-t", "slim", context)
    run("make", "-C", TOP, "deb", timeout=900)
    buildah("build", "--isolation", "chroot", "--build-arg", "BASE=localhost/slim", "-t", "kmsd", "-f", RECIPE, TOP / "build/deb", timeout=600)
    return buildah("from", "--ulimit", "nofile=4096:4096", "localhost/kmsd").stdout.strip()


def test_what_the_image_says(buildah, container):
    config = json.loads(buildah("inspect", "--type", "image", "localhost/kmsd").stdout)["OCIv1"]["config"]
    assert config["User"] == f"{USER}:{USER}" and list(config["Volumes"]) == ["/var/lib/kmsd"] and config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] + config["Cmd"] == ["/usr/bin/kmsd", "run", "--settings", "/var/lib/kmsd/kmsd.yaml"]
    assert buildah("run", "--isolation", "chroot", container, "--", "id", "-u").stdout.strip() == str(USER)
    assert buildah("run", "--isolation", "chroot", container, "--", "sh", "-c", "ls /opt/debs /usr/bin/gcc /lib/systemd/systemd 2>/dev/null", check=False).stdout == ""


def supervisors(pid):
    """Processes below pid that run kmsd's own program: the one that buildah started."""
    found, todo = [], [pid]
    while todo:
        for task in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            for child in task.read_text().split():
                todo.append(int(child))
                if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"/usr/bin/kmsd\0run\0"):
                    found.append(int(child))
    return found


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_it_signs(buildah, container, tmp_path):
    volume, me = tmp_path / "volume", tmp_path / "me"
    volume.mkdir()
    me.mkdir()
    os.chown(volume, USER, USER)
    ports = free_port(), free_port()
    run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", me / "key", "-subj", "/", "-out", me / "csr")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", me / "ssh")
    (me / "policy.yaml").write_text(POLICY)
    for path in [*me.iterdir(), me]:
        path.chmod(0o755 if path.is_dir() else 0o600 if path.name in ("ssh", "key") else 0o644)
    # Not at /var/lib/kmsd: which of the image's volume and ours buildah mounts there last is left to chance.
    inside = ("run", "--isolation", "chroot", "-v", f"{volume}:/data", "-v", f"{me}:/me:ro", container, "--", "/usr/bin/kmsd")
    buildah(*inside, "init", "--dir", "/data", "--origin", "kms.example.com", "--admin-csr", "/me/csr", "--admin-ssh", "/me/ssh.pub",
            "--policy", "/me/policy.yaml", "--listen-ci", f"127.0.0.1:{ports[0]}", "--listen-admin", f"127.0.0.1:{ports[1]}")
    store = [str(a) for a in buildah("info").args[:7]]
    service = subprocess.Popen([*store, *inside, "run", "--settings", "/data/kmsd.yaml"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=open(tmp_path / "log", "w"))
    try:
        env = {**os.environ, "KMS_ADDR": f"https://127.0.0.1:{ports[0]}", "KMS_ADMIN_ADDR": f"https://127.0.0.1:{ports[1]}", "KMS_CACERT": str(volume / "tls/ca.pem"),
               "KMS_CERT": str(volume / "admin.pem"), "KMS_KEY": str(me / "key"), "KMS_SSH_KEY": str(me / "ssh")}
        end = time.monotonic() + START_SECONDS
        while run(BIN / "kmsctl", "whoami", check=False, env=env).returncode and time.monotonic() < end and service.poll() is None:
            time.sleep(0.5)
        (tmp_path / "app.zip").write_bytes(b"a bundle")
        run(BIN / "kmsctl", "key", "create", "ota", "--algorithm", "p256", "--scheme", "statement", env=env)
        run(BIN / "kmsctl", "sign", "app.zip", "--version", "1.0.0", "--key", "ota", "--app", "shop", "--channel", "stable", env=env, cwd=tmp_path)
        (tmp_path / "pub.pem").write_text(run(BIN / "kmsctl", "key", "public", "ota", env=env).stdout)
        run(BIN / "kmsctl", "verify", "app.zip", "app.zip.dsse.json", "--pub", "pub.pem", cwd=tmp_path)
    finally:
        # As `podman stop` does it; buildah itself hands no signal on.
        for pid in supervisors(service.pid):
            os.kill(pid, signal.SIGTERM)
        try:
            ended = service.wait(30)
        except subprocess.TimeoutExpired:
            service.kill()
            ended = service.wait()
    assert ended == 0, (tmp_path / "log").read_text()
    assert "sound" in run(BIN / "kms-audit", "verify", volume).stdout
