# Completion of kmsctl for bash; the words come from the program's own tables.
_kmsctl()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} noun=${COMP_WORDS[1]} verb=${COMP_WORDS[2]}
    local tables line words

    case $previous in
    -o | --output) mapfile -t COMPREPLY < <(compgen -W "table json" -- "$current"); return ;;
    --kind) mapfile -t COMPREPLY < <(compgen -W "ci service human" -- "$current"); return ;;
    --format) mapfile -t COMPREPLY < <(compgen -W "pem jwk ssh" -- "$current"); return ;;
    --hash) mapfile -t COMPREPLY < <(compgen -W "sha256 sha384" -- "$current"); return ;;
    --outcome) mapfile -t COMPREPLY < <(compgen -W "ok denied error intent" -- "$current"); return ;;
    --algorithm) mapfile -t COMPREPLY < <(compgen -W "p256 p384 rsa-2048 rsa-3072 rsa-4096 ed25519" -- "$current"); return ;;
    --scheme) mapfile -t COMPREPLY < <(compgen -W "statement digest digest-pkcs1" -- "$current"); return ;;
    esac
    tables=$(kmsctl --complete 2>/dev/null) || return
    if [ "$COMP_CWORD" -eq 1 ]; then
        words=$(sed 's/[: ].*//' <<<"$tables" | sort -u)
    elif [ "$COMP_CWORD" -eq 2 ] && grep -q "^$noun " <<<"$tables"; then
        words=$(sed -n "s/^$noun \([a-z]*\):.*/\1/p" <<<"$tables")
    elif [[ $current == -* ]]; then
        line=$(grep -e "^$noun:" -e "^$noun $verb:" <<<"$tables")
        words=${line#*:}
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o filenames -F _kmsctl kmsctl
