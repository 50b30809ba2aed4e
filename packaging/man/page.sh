#!/bin/sh
# Prints a manual page's scdoc source with its @lines@ filled in from the programs in BIN and the files they were made of.
#   page.sh BIN VERSION PAGE.scd
set -eu
bin=$1 version=$2 page=$3
here=$(dirname "$0")
top=$here/../..

# Every command of kmsctl by its own table.
kmsctl_commands() {
    "$bin/kmsctl" --complete | sed 's/:.*//' | while read -r name; do
        printf '## kmsctl %s\n\n' "$name"
        # shellcheck disable=SC2086
        "$bin/kmsctl" help $name | awk -v skip_common=1 -f "$here/help.awk"
        echo
    done
}
# The commands that PROGRAM --help lists, each by its own --help.
commands_of() {
    "$bin/$1" --help | sed -nE 's/^  ([a-z][a-z-]*) .*/\1/p' | grep -vE '^(kms|version$)' | while read -r name; do
        printf '## %s %s\n\n' "$1" "$name"
        "$bin/$1" "$name" --help | awk -f "$here/help.awk"
        echo
    done
}
settings() {
    "$bin/kmsd" settings | sed -E 's/[\\*_]/\\&/g; s/^([a-z][^ ]*) \((.*)\)$/*\1* (\2)/; s/^    /\t/; s/^(\t.*)$/\1\n/'
}
# action, and which requests need it
actions() {
    awk '/^  \/v1/ { path = $1; sub(/:$/, "", path) } /^    (get|post|put|delete|patch):/ { method = toupper($1); sub(/:$/, "", method) }
         /^      x-action:/ { print $2, method, path }' "$top/docs/openapi.yaml" | sort |
        awk '{ gsub(/[\\*_]/, "\\\\&"); if ($1 != last) printf "%s*%s*\n\t%s %s", last ? "\n\n" : "", $1, $2, $3; else printf ", %s %s", $2, $3; last = $1 }
             END { print "\n" }'
    # What no request of its own asks for.
    sed -nE 's/.*X\(/X(/; s/X\([A-Z_]+, "([^"]+)"\) ?/\1\n/gp' "$top/policy/policy.h" | grep -E '^[a-z]' | sort -u | while read -r name; do
        ! grep -q "x-action: $name\$" "$top/docs/openapi.yaml" || continue
        case $name in
        sign.digest) when='POST /v1/sign, with a key of the scheme *digest* or *digest-pkcs1*' ;;
        identity.renew) when='POST /v1/identities/{name}/credentials, for another identity than your own' ;;
        *) echo "page.sh: which request needs $name?" >&2 && return 1 ;;
        esac
        printf '*%s*\n\t%s\n\n' "$name" "$when"
    done
}
# What a header declares, with its comments.
header() {
    printf '```\n'
    sed -n '/^#ifdef __cplusplus/,/^#endif/d; /^#define KMS_H$/d; /^#ifndef KMS_H/d; /^#include/d; /^#endif/d; /^\/\* libkms:/,/\*\//d; p' "$top/$1" | cat -s
    printf '```\n'
}
literal() {
    printf '```\n'
    cat "$top/$1"
    printf '```\n'
}

while IFS= read -r line; do
    case $line in
    '@kmsctl commands@') kmsctl_commands ;;
    '@kmsctl common@') "$bin/kmsctl" help status | awk -v only_common=1 -f "$here/help.awk" ;;
    '@commands '*@) name=${line#@commands } && commands_of "${name%@}" ;;
    '@settings@') settings ;;
    '@actions@') actions ;;
    '@markdown '*@) name=${line#@markdown } && awk -f "$here/markdown.awk" "$top/${name%@}" ;;
    '@header '*@) name=${line#@header } && header "${name%@}" ;;
    '@literal '*@) name=${line#@literal } && literal "${name%@}" ;;
    *) printf '%s\n' "$line" | sed "s/@VERSION@/$version/" ;;
    esac
done <"$page"
