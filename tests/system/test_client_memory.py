"""kmsctl without memory: whatever fails, success is said of nothing that was not done."""
import os
import subprocess

import pytest

from test_client import KMSCTL, ctl, fake, pki  # noqa: F401  (fixtures)

MALLOC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

/* The call number OOM_AT fails; every call is counted. */
void *malloc(size_t n)
{
    static void *(*real)(size_t);
    static long left = -1;

    if (!real) {
        const char *at = getenv("OOM_AT");

        real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
        left = at ? strtol(at, NULL, 10) : 0;
    }
    if (left > 0 && --left == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return real(n);
}
"""
CALLS = range(1, 1200, 7)


@pytest.fixture
def short(tmp_path):
    """Runs kmsctl with the nth allocation failing."""
    (tmp_path / "oom.c").write_text(MALLOC)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "oom.so", tmp_path / "oom.c", "-ldl"], check=True)

    def call(n, *argv):
        env = {"PATH": os.environ["PATH"], "LD_PRELOAD": str(tmp_path / "oom.so"), "OOM_AT": str(n)}
        return subprocess.run([KMSCTL, *argv], cwd=tmp_path, env=env, capture_output=True, timeout=60, check=False)
    return call


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer brings its own malloc")
@pytest.mark.parametrize("words", [["statement", "show", "envelope"], ["verify", "app.zip", "envelope", "--pub", "pub.pem"]], ids=lambda words: words[0])
def test_no_memory_is_no_success(ctl, fake, pki, short, tmp_path, words):
    """A crash in a library's own beginnings is one way to fail; exit status 0 with less than the whole result is none."""
    (tmp_path / "pub.pem").write_bytes(open(pki("release.pem"), "rb").read())
    (tmp_path / "app.zip").write_bytes(b"bundle\n")
    assert ctl("sign", "app.zip", "--version", "1.0.0", "--output-file", "envelope").returncode == 0
    whole = short(0, *words)
    assert whole.returncode == 0 and whole.stdout
    for n in CALLS:
        done = short(n, *words)
        assert done.returncode or done.stdout == whole.stdout, (n, done)
