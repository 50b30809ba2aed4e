#!/bin/sh
# Installs or uninstalls by one table. Called by make, which sets the directories.
#   install.sh install|uninstall
set -eu
: "${DESTDIR=}" "${PREFIX:?}" "${LIBDIR:?}" "${INCLUDEDIR:?}" "${MANDIR:?}" "${DOCDIR:?}" "${UNITDIR:?}" "${SYSUSERSDIR:?}" "${TMPFILESDIR:?}" "${B:?}" "${VERSION:?}" "${PROGRAMS:?}"
completions=$PREFIX/share/bash-completion/completions
libexec=$PREFIX/libexec/kmsd
policies=$PREFIX/share/kmsd/policy

# mode, source, target. Mode "link": source is what the link says. Mode "fill": 0644 with the directories filled in. Mode "page": 0644 with links that
# lead to what is installed.
table() {
    for f in $PROGRAMS; do
        case $f in
        "$B"/bin/*) echo "0755 $f $PREFIX/bin/${f##*/}" ;;
        *) echo "0755 $f $libexec/${f##*/}" ;;
        esac
    done
    echo "0644 $B/lib/libkms.so.0 $LIBDIR/libkms.so.0"
    echo "link libkms.so.0 $LIBDIR/libkms.so"
    echo "0644 $B/lib/libkms.a $LIBDIR/libkms.a"
    echo "fill client/libkms.pc.in $LIBDIR/pkgconfig/libkms.pc"
    echo "0644 client/kms.h $INCLUDEDIR/kms.h"
    for f in "$B"/man/*.[1-8]; do echo "0644 $f $MANDIR/man${f##*.}/${f##*/}"; done
    echo "0644 packaging/completion/kmsctl $completions/kmsctl"
    echo "0644 packaging/completion/kmsd $completions/kmsd"
    echo "0644 packaging/completion/kmsd $completions/kms-audit"
    for f in policy/examples/*.yaml; do echo "0644 $f $policies/${f##*/}"; done
    echo "page README.md $DOCDIR/README.md"
    for f in docs/*.md docs/openapi.yaml; do echo "0644 $f $DOCDIR/${f##*/}"; done
    echo "0644 softhsm-config/README.md $DOCDIR/softhsm.md"
    for f in client/examples/*.c; do echo "0644 $f $DOCDIR/examples/${f##*/}"; done
    echo "fill packaging/systemd/kmsd.service $UNITDIR/kmsd.service"
    echo "0644 packaging/sysusers.d/kmsd.conf $SYSUSERSDIR/kmsd.conf"
    echo "0644 packaging/tmpfiles.d/kmsd.conf $TMPFILESDIR/kmsd.conf"
}

put() { # mode source target
    mkdir -p "$(dirname "$3")"
    case $1 in
    link) ln -sf "$2" "$3" ;;
    fill)
        sed -e "s|@PREFIX@|$PREFIX|" -e "s|@LIBDIR@|$LIBDIR|" -e "s|@INCLUDEDIR@|$INCLUDEDIR|" -e "s|@VERSION@|$VERSION|" \
            -e "s|/usr/local/share/doc/kmsd|$DOCDIR|" -e "s|/usr/local/|$PREFIX/|" "$2" >"$3"
        chmod 0644 "$3"
        ;;
    page)
        sed -e 's|\[docs/|[|; s|](docs/|](|; s|](softhsm-config/README.md)|](softhsm.md)|; /](CONTRIBUTING.md)/d' \
            -e 's|\[client/examples/|[examples/|; s|](client/examples/|](examples/|' -e "s#policy/examples#$policies#g" "$2" >"$3"
        chmod 0644 "$3"
        ;;
    *) install -m "$1" "$2" "$3" ;;
    esac
}

case ${1:-} in
install) table | while read -r mode from to; do put "$mode" "$from" "$DESTDIR$to"; done ;;
uninstall)
    table | while read -r _ _ to; do rm -f "$DESTDIR$to"; done
    for d in "$libexec" "$policies" "$PREFIX/share/kmsd" "$DOCDIR/examples" "$DOCDIR"; do
        if [ -d "$DESTDIR$d" ]; then rmdir --ignore-fail-on-non-empty "$DESTDIR$d"; fi
    done
    ;;
*)
    echo "usage: install.sh install|uninstall" >&2
    exit 2
    ;;
esac
