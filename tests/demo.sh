#!/usr/bin/env bash
# The main job, for real: a token, a daemon, a bundle signed by a CI identity, checked with plain openssl and from the log.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/build/bin
dir=$(mktemp -d "${TMPDIR:-/tmp}/kmsd-demo.XXXXXX")
step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
finish() {
    "$bin/kmsd" dev --dir "$dir/kms" --stop 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT

step "1. A development server: SoftHSM tokens, CA, keys, policy, daemon"
"$bin/kmsd" dev --dir "$dir/kms" --listen 127.0.0.1:0 --detach

step "2. A CI job signs a bundle"
cd "$dir"
mkdir app && head -c 100000 /dev/urandom > app/payload.bin && echo '{"main":"index.js"}' > app/package.json
tar -czf bundle.tar.gz app
. kms/ci.env
"$bin/kmsctl" sign bundle.tar.gz --version 1.0.0

step "3. Anybody checks it with openssl and the public key"
"$bin/kmsctl" key public "$KMS_SIGN_KEY" > pub.pem
"$bin/kmsctl" statement pae bundle.tar.gz.dsse.json --signature-out bundle.sig > bundle.pae
openssl dgst -sha256 -verify pub.pem -signature bundle.sig bundle.pae
"$bin/kmsctl" verify bundle.tar.gz bundle.tar.gz.dsse.json --pub pub.pem --allow-dev

step "4. A reviewer checks the log without asking the service"
"$bin/kms-audit" verify kms
"$bin/kms-audit" show kms --event sign.release --outcome ok
"$bin/kms-audit" show kms --event sign.release --outcome ok --raw | cut -c 1-400
