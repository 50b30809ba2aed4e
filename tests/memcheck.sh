#!/usr/bin/env bash
# memcheck.sh BUILD: unit tests and a short simulation under valgrind. Ends with "N passed, N failed".
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
# and the round trips of ten thousands of records are for the sanitizers.
for t in tests/unit/test_*.c; do
    n=$(basename "$t" .c)
    case $n in
    test_sandbox | test_secret | test_snapshot) ;;
    *) check "$n" "$build/tests/unit/$n" ;;
    esac
done
check sim "$build/tests/sim/sim" 1 1 "${MEMCHECK_STEPS:-60}"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
