#!/usr/bin/env bash
# memcheck.sh BUILD: unit tests, a short simulation and kmsd-core of a running service under valgrind. Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/.."
build=$1 passed=0 failed=0
log=$build/test-log
mkdir -p "$log"
check() { # name program...
    local name=$1
    shift
    if timeout 300 valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect --suppressions=tests/valgrind.supp \
        --num-callers=30 "$@" >"$log/$name" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL  $name"
        tail -n 40 "$log/$name" | sed 's/^/      /'
    fi
}
# Not these: valgrind makes the system calls that a sandbox ends a process for, it does not know the advice that keeps a page out of core dumps,
# and the round trips of ten thousands of records, and the many sums of points of the curve, are for the sanitizers.
for t in tests/unit/test_*.c; do
    n=$(basename "$t" .c)
    case $n in
    test_p256edges | test_sandbox | test_secret | test_snapshot) ;;
    *) check "$n" "$build/tests/unit/$n" ;;
    esac
done
check sim "$build/tests/sim/sim" 1 1 "${MEMCHECK_STEPS:-60}"
# What lives as long as the process is not freed at its end: errors only. That valgrind does not know a system call (epoll_pwait2, for which the core has
# another way) is none.
wrapped=$PWD/$build/wrapped
rm -rf "$wrapped"
mkdir -p "$wrapped"
ln -s "$PWD/$build"/libexec/kmsd/* "$wrapped"
rm "$wrapped/kmsd-core"
printf '#!/bin/sh\nexec valgrind -q --num-callers=30 --log-file=%s/core.%%p.log %s "$@"\n' "$wrapped" "$PWD/$build/libexec/kmsd/kmsd-core" >"$wrapped/kmsd-core"
chmod +x "$wrapped/kmsd-core"
core() {
    KMSD_LIBEXEC=$wrapped KMSD_BUILD=$PWD/$build timeout 300 /usr/bin/python3 -B -m pytest -q -p no:cacheprovider --tb=short tests/system/test_api_versions.py &&
        [ -n "$(ls "$wrapped"/core.*.log)" ] && ! grep -h '^==' "$wrapped"/core.*.log
}
if core >"$log/core" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)); echo 'FAIL  core'; tail -n 60 "$log/core"; fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
