#!/usr/bin/env bash
# The rules of the source tree that a machine can check: who may include whom, banned functions, sizes, and what the core may not touch.
set -u
cd "$(dirname "$0")/.."
B=${1:-build}
bad=0
say() { echo "$*"; bad=1; }

# 1. Dependencies point one way.
allow() { # folder, allowed folders...
    local folder=$1 hit
    shift
    hit=$(grep -rnE '^#include "' "$folder" --include='*.[ch]' | grep -vE "#include \"($(IFS='|'; echo "$*"))[/.]" || true)
    [ -z "$hit" ] || say "$folder includes what it may not:"$'\n'"$hit"
}
allow base base
allow policy base policy
allow audit base policy audit
allow kmsd/sandbox base kmsd/sandbox kmsd/settings
allow kmsd/core base policy audit kmsd/core kmsd/settings kmsd/sandbox
allow kmsd/front base kmsd/front kmsd/settings kmsd/sandbox
allow kmsd/token base kmsd/token kmsd/settings kmsd/sandbox
allow kmsd/reader base policy audit kmsd/reader kmsd/settings kmsd/sandbox
allow kmsd/supervisor base policy audit kmsd/supervisor kmsd/settings kmsd/sandbox
allow client base policy audit client

# The verifier shares no code with the writer.
hit=$(grep -rnE '#include "audit/(record|statement|logdir|state)' audit/verify || true)
[ -z "$hit" ] || say "the verifier includes the writer:"$'\n'"$hit"

# 2. One third-party header, one owner.
owner() { # header pattern, allowed path pattern
    local hit
    hit=$(git ls-files -co --exclude-standard 'base/*' 'policy/*' 'audit/*' 'kmsd/*' 'client/*' | grep -E '\.[ch]$' | xargs grep -nE "#include <($1)" 2>/dev/null | grep -vE "^($2)" || true)
    [ -z "$hit" ] || say "<$1> is included outside $2:"$'\n'"$hit"
}
owner 'jansson' 'base/json\.h'
owner 'libfyaml' 'base/yaml\.c'
owner 'microhttpd|gnutls' 'kmsd/front/'
owner 'libp11|p11-kit|pkcs11' 'kmsd/token/'
owner 'curl' 'client/'
owner 'sqlite3' 'kmsd/reader/'
owner 'seccomp' 'kmsd/sandbox/syscalls\.c'
owner 'linux/landlock' 'kmsd/sandbox/landlock\.c'

# 3. Banned functions.
hit=$(grep -rnwE '(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|sscanf|scanf|fscanf|alloca|system|popen|rand|srand|signal|tmpnam|mktemp)\(' \
    base policy audit kmsd client --include='*.[ch]' | grep -vE '^\S+\s*(/?\*|//)' || true)
[ -z "$hit" ] || say "banned functions:"$'\n'"$hit"

# 4. Sizes.
while read -r lines file; do
    [ "$lines" -le 600 ] || say "$file has $lines lines; more than 600 needs splitting"
done < <(find base policy audit kmsd client -name '*.[ch]' -exec wc -l {} + | awk '$2 != "total" {print $1, $2}')

# 5. The core and everything it pulls in from our libraries reference no clock, random, file or socket symbol.
forbidden='clock_gettime|gettimeofday|time|getrandom|getentropy|rand|random|arc4random|open|open64|openat|creat|read|write|pread|pwrite|close|fopen|fopen64|fclose|fread|fwrite|fprintf|printf|puts|putchar|fputs|vfprintf|stdout|stderr|stdin|socket|connect|bind|listen|accept|send|recv|sendmsg|recvmsg|poll|select|epoll_wait|fsync|fdatasync|unlink|rename|stat|fstat|RAND_bytes|RAND_priv_bytes|getenv|fork|execve|sleep|usleep|nanosleep|__fprintf_chk|__printf_chk|__read_chk|__open_2|__open64_2|__vfprintf_chk|__openat_2'
closure=$(python3 - "$B" <<'PY'
import subprocess, sys, glob
b = sys.argv[1]
objects = glob.glob(f'{b}/obj/base/*.o') + glob.glob(f'{b}/obj/policy/*.o') + glob.glob(f'{b}/obj/audit/*.o') + glob.glob(f'{b}/obj/audit/state/*.o') + glob.glob(f'{b}/obj/kmsd/core/*.o')
defined, needs = {}, {}
for o in objects:
    needs[o] = set()
    for line in subprocess.run(['nm', '-g', o], capture_output=True, text=True, check=True).stdout.splitlines():
        f = line.split()
        if f[-2] in 'Uwv':
            needs[o].add(f[-1])
        elif f[-2] in 'TDBRVWC':
            defined[f[-1]] = o
todo = [o for o in objects if '/kmsd/core/' in o or '/audit/state/' in o]
seen = set(todo)
if not todo:
    sys.exit('no core objects')
while todo:
    o = todo.pop()
    for s in needs[o]:
        d = defined.get(s)
        if d and d not in seen:
            seen.add(d); todo.append(d)
print('\n'.join(sorted(seen)))
PY
) || say "the core's objects could not be read; build first"
for o in $closure; do
    hit=$(nm -u "$o" | awk '{print $2}' | sed 's/@.*//' | grep -xE "$forbidden" | tr '\n' ' ')
    [ -z "$hit" ] || say "$o, which the core pulls in, references: $hit"
done
[ -n "$closure" ] && echo "core closure: $(echo "$closure" | wc -l) objects checked"

# 6. Long functions are reported, not refused.
if command -v ctags >/dev/null 2>&1; then
    git ls-files -co --exclude-standard '*.c' | grep -v '^tests/' | ctags -L - --languages=C --kinds-C=f --fields=+ne -f - 2>/dev/null |
        awk -F'\t' '{l=0;e=0;for(i=4;i<=NF;i++){if($i~/^line:/)l=substr($i,6);if($i~/^end:/)e=substr($i,5)} if(e-l>80)print "note: "e-l" lines: "$1" in "$2}' | sort -rn || true
fi
[ "$bad" = 0 ] && echo "rules hold"
exit "$bad"
