"""libkms as an installed library: its header alone, its names alone, and the example against a real service."""
import json
import os
import re
import subprocess

import pytest

from kms import BIN, ROOT, run

FLAGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
APP = "com.example.libkms"
EXAMPLES = ROOT / "client/examples"


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    run("make", "-C", ROOT, "install", f"DESTDIR={root}", "PREFIX=/usr", timeout=300)
    return root / "usr"


def pkg_config(prefix, *words):
    env = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(prefix.parent)}
    return run("pkg-config", *words, "libkms", env=env).stdout.decode().split()


def public_names():
    return set(re.findall(r"^\s+(kms_[a-z_]+);", (ROOT / "client/libkms.map").read_text(), re.M))


def defined(*nm):
    lines = run("nm", "--defined-only", *nm).stdout.decode().splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if len(line.split()) == 3 and line.split()[1] in "TDBRVW"}


def test_only_its_own_names(prefix):
    """The map, the header and both forms of the library agree."""
    declared = set(re.findall(r"\b(kms_[a-z_]+)\(", re.sub(r"/\*.*?\*/", "", (prefix / "include/kms.h").read_text(), flags=re.S)))
    assert declared == public_names()
    assert defined("-D", prefix / "lib/libkms.so.0") - {"LIBKMS_0"} == public_names()
    assert defined("-g", prefix / "lib/libkms.a") == public_names()
    assert os.readlink(prefix / "lib/libkms.so") == "libkms.so.0"
    assert "libkms.so.0" in run("objdump", "-p", prefix / "lib/libkms.so.0").stdout.decode()


@pytest.mark.parametrize("language", [["gcc", "-std=c99"], ["gcc", "-std=c11"], ["g++", "-x", "c++", "-std=c++20", "-Wno-missing-field-initializers"]])
def test_the_header_stands_alone(prefix, tmp_path, language):
    source = tmp_path / "alone.c"
    source.write_text("#include <kms.h>\nint main(void)\n{\n    struct kms_options o = KMS_OPTIONS_INIT;\n    return o.timeout == KMS_TIMEOUT_DEFAULT ? 0 : 1;\n}\n")
    if subprocess.run([language[0], "--version"], capture_output=True).returncode:
        pytest.skip(f"{language[0]} is not installed")
    run(*language[:1], *FLAGS, *language[1:], f"-I{prefix / 'include'}", "-fsyntax-only", source)
    assert set(re.findall(r"#include <(\S+)>", (prefix / "include/kms.h").read_text())) == {"stdbool.h", "stddef.h", "stdint.h"}


@pytest.fixture(scope="module", params=["shared", "static"])
def example(request, prefix, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "shared":
        words = pkg_config(prefix, "--cflags", "--libs")
    else:  # the library itself statically, what it needs from the system
        words = pkg_config(prefix, "--cflags") + [str(prefix / "lib/libkms.a"), "-lcurl", "-ljansson", "-lcrypto"]
    for source in EXAMPLES.glob("*.c"):
        run("gcc", "-std=c11", *FLAGS, source, "-o", directory / source.stem, *words)
    return directory


def call(program, prefix, env, *words):
    full = {**os.environ, "LD_LIBRARY_PATH": str(prefix / "lib"), **env}
    return subprocess.run([program, *map(str, words)], env=full, capture_output=True, text=True, timeout=60)


def test_the_example_signs_and_verifies(example, prefix, kms, tmp_path):
    file, pub = tmp_path / "app.zip", tmp_path / "pub.pem"
    file.write_bytes(b"a bundle")
    env = {**kms.ci_env, "KMS_DEVELOPMENT": "1"}
    pub.write_bytes(run(BIN / "kmsctl", "key", "public", env["KMS_SIGN_KEY"], env={**os.environ, **env}).stdout)
    # Both forms of the library sign the same release: the second is answered with the stored signature.
    words = (env["KMS_SIGN_KEY"], APP, "beta", "1.0.0", file, pub)
    done = call(example / "sign", prefix, env, *words)
    assert done.returncode == 0, done.stderr
    envelope = tmp_path / "app.zip.dsse.json"
    assert "app.zip 1.0.0" in done.stdout and json.loads(envelope.read_text())["payloadType"] == "application/vnd.in-toto+json"
    checked = run(BIN / "kmsctl", "verify", file, envelope, "--pub", pub, "--allow-dev", "--app", APP)
    assert b"verified" in checked.stdout
    # kmsctl's envelope is the same, byte for byte.
    run(BIN / "kmsctl", "sign", file, "--version", "1.0.0", "--app", APP, "--channel", "beta", "--output-file", tmp_path / "second", env={**os.environ, **env})
    assert (tmp_path / "second").read_bytes() == envelope.read_bytes()


def test_failures_have_slugs(example, prefix, kms, tmp_path):
    file, pub = tmp_path / "app.zip", tmp_path / "pub.pem"
    file.write_bytes(b"a bundle")
    env = {**kms.ci_env, "KMS_DEVELOPMENT": "1"}
    words = (env["KMS_SIGN_KEY"], APP + ".slugs", "beta")
    pub.write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    wrong_key = call(example / "sign", prefix, env, *words, "1.0.0", file, pub)
    assert wrong_key.returncode == 1 and wrong_key.stderr.startswith("verify: "), wrong_key.stderr
    older = call(example / "sign", prefix, env, *words, "0.9.0", file, pub)
    assert older.returncode == 1 and older.stderr.startswith("sign: version-not-newer: "), older.stderr
    nobody = call(example / "sign", prefix, {**env, "KMS_ADDR": "https://127.0.0.1:1"}, *words, "1.0.0", file, pub)
    assert nobody.returncode == 3 and nobody.stderr.startswith("sign: unreachable: "), nobody.stderr
    for name, value in (("KMS_CACERT", "/nonexistent"), ("KMS_ADDR", "http://127.0.0.1:1")):
        done = call(example / "sign", prefix, {**env, name: value}, *words, "1.0.0", file, pub)
        assert done.returncode == 2 and done.stderr.startswith("open: usage: "), done.stderr
    assert call(example / "sign", prefix, env, *words, "1.0.0", tmp_path / "none", pub).stderr.startswith("digest: local: ")


def test_many_in_one(example, prefix, kms, tmp_path):
    """Each file gets its own answer: one that is refused keeps none of the others from being signed."""
    env = dict(kms.ci_env)
    app = f"{APP}.many.{example.name.rstrip('0123456789')}"
    files = [tmp_path / f"part-{n}.zip" for n in range(3)] + [tmp_path / "+bad.zip"]
    for file in files:
        file.write_bytes(file.name.encode())
    done = call(example / "sign_many", prefix, env, env["KMS_SIGN_KEY"], app, "beta", "1.0.0", *files)
    assert done.returncode == 1 and f"{files[3]}: bad-name: " in done.stderr and done.stdout.count(": record ") == 3, done
    for file in files[:3]:
        envelope = json.loads((tmp_path / f"{file.name}.dsse.json").read_text())
        assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert not (tmp_path / "+bad.zip.dsse.json").exists()
    assert call(example / "sign_many", prefix, env, env["KMS_SIGN_KEY"], app, "beta", "1.0.0", *files[:3]).returncode == 0


WRONG = r"""
#include <kms.h>
#include <stdio.h>
#include <stdlib.h>

static void attempt(struct kms *k, const struct kms_sign_request *rq)
{
    struct kms_signature s = {0};
    struct kms_sign_result many[1];
    struct kms_error e;
    int one = kms_sign(k, rq, &s, &e);

    printf("%d %s %s\n", one, e.slug, e.detail);
    printf("%d %s\n", kms_sign_many(k, rq, 1, NULL, many, &e), many[0].error.detail);
    kms_sign_results_free(many, 1);
    kms_signature_free(&s);
}

int main(void)
{
    struct kms_options o = KMS_OPTIONS_INIT;
    struct kms_sign_request rq = KMS_SIGN_REQUEST_INIT;
    const char **const needed[] = {&rq.key, &rq.app, &rq.channel, &rq.version, &rq.digest};
    struct kms_error e;
    struct kms *k;

    kms_close(NULL);
    kms_signature_free(NULL);
    kms_sign_results_free(NULL, 0);
    o.addr = getenv("KMS_ADDR");
    o.cacert = getenv("KMS_CACERT");
    o.cert = getenv("KMS_CERT");
    o.key = getenv("KMS_KEY");
    k = kms_open(&o, &e);
    if (!k)
        return 9;
    for (int i = 0; i < 5; i++) {
        attempt(k, &rq);
        *needed[i] = "\xff";
    }
    attempt(k, &rq);
    kms_close(&k);
    kms_close(&k);
    return 0;
}
"""


def test_what_is_missing_is_named(prefix, kms, tmp_path):
    """Used wrongly the library says so, before anything is sent."""
    (tmp_path / "wrong.c").write_text(WRONG)
    run("gcc", "-std=c11", *FLAGS, tmp_path / "wrong.c", "-o", tmp_path / "wrong", *pkg_config(prefix, "--cflags", "--libs"))
    done = call(tmp_path / "wrong", prefix, kms.ci_env)
    said = [f"the request has no {name}" for name in ("key", "app", "channel", "version", "digest")]
    said.append("the request cannot be written as JSON (not UTF-8, or too long)")
    assert done.returncode == 0 and done.stdout.splitlines() == [line for why in said for line in (f"-1 usage {why}", f"-1 {why}")], done
