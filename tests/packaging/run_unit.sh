#!/bin/sh
# Runs a service of systemd where there is no systemd: its user, umask, state directory and credentials as its unit says, no privileges to gain.
#   run_unit.sh UNIT
set -eu
unit=$1
of() { sed -n "s/^$1=//p" "$unit"; }
user=$(of User)
credentials=$(mktemp -d /run/credentials.XXXXXX)
of LoadCredential | while IFS=: read -r name from; do install -m 0400 -o "$user" "$from" "$credentials/$name"; done
chown "$user" "$credentials"
umask "$(of UMask)"
ulimit -n "$(of LimitNOFILE)"
cd /
# shellcheck disable=SC2046
exec setpriv --reuid "$user" --regid "$(of Group)" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
    env -i PATH=/usr/bin:/bin USER="$user" STATE_DIRECTORY="/var/lib/$(of StateDirectory)" CREDENTIALS_DIRECTORY="$credentials" $(of ExecStart)
