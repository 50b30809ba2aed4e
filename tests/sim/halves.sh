#!/bin/sh
# halves.sh SIM COUNT STEPS: two processes with COUNT schedules each.
set -u
"$1" 1 "$2" "$3" &
first=$!
"$1" $((1 + $2)) "$2" "$3"
second=$?
wait $first && exit $second
exit 1
