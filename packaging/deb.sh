#!/usr/bin/env bash
# Builds the Debian packages from the tracked sources, in a copy under the given directory, without network.
#   deb.sh DIR VERSION
set -eu
cd "$(dirname "$0")/.."
dir=$1 version=$2
source=$dir/kmsd-$version

rm -rf "$source"
mkdir -p "$source"
if git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -co --exclude-standard -z | while IFS= read -r -d '' f; do if [ -e "$f" ]; then printf '%s\0' "$f"; fi; done
else
    find . -path ./build -prune -o -type f -print0
fi | tar --null -T - -cf - | tar -xf - -C "$source"
mv "$source/packaging/debian" "$source/debian"
if [ "$(dpkg-parsechangelog -l "$source/debian/changelog" -S Version)" != "$version" ]; then
    echo "packaging/debian/changelog does not begin with version $version" >&2
    exit 1
fi
rm -f "$dir"/*.deb "$dir"/made
cd "$source"
env -u MAKEFLAGS -u MAKEOVERRIDES -u MAKELEVEL -u B -u CI -u DESTDIR -u PREFIX dpkg-buildpackage -us -uc -b -j"${JOBS:-2}" >../build.log 2>&1 || {
    tail -n 40 ../build.log >&2
    exit 1
}
cd ..
ls ./*.deb
