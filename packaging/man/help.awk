# A program's help text as scdoc: usage and examples literally, "  --option ARG   text" as definitions, the rest as paragraphs.
# skip_common=1 leaves out what follows "Common options"; only_common=1 leaves out everything else.
function escape(s) { gsub(/[\\*_`]/, "\\\\&", s); if (s ~ /^[-.#|:\[\]]/) s = "\\" s; return s }
function close_literal() { if (literal) print "```"; literal = 0 }
function close_definition() { if (definition) print "\t" text; definition = 0 }
function close_all() { close_definition(); close_literal() }

/^Common options/ { close_all(); common = 1; if (only_common) next }
common && skip_common { next }
!common && only_common { next }
/^[Uu]sage: / { close_all(); sub(/^[Uu]sage: /, ""); print "```"; print; literal = 2; next }
literal == 2 && /^ +[^ ]/ { print; next }
literal == 2 { print "```"; literal = 0 }
/^$/ { close_all(); print ""; next }
# Deeper than the term: the definition goes on.
definition && match($0, /^ +/) && RLENGTH > 8 { sub(/^ +/, ""); text = text " " escape($0); next }
/^ +[^ ].*[^ ]  +[^ ]/ || /^ +-/ {
    close_all()
    sub(/^ +/, "")
    term = $0; text = ""
    if (match($0, /  +/)) { term = substr($0, 1, RSTART - 1); text = substr($0, RSTART + RLENGTH) }
    else if ($0 !~ /^(--[a-z-]+ [A-Z:-]+(, |$))+$/ && match($0, /^(--[a-z-]+ [A-Z:-]+,? )+/)) {
        term = substr($0, 1, RLENGTH - 1)
        text = substr($0, RLENGTH + 1)
    }
    print "*" escape(term) "*"
    text = escape(text); definition = 1
    next
}
/^ / { if (!literal) { close_all(); print "```"; literal = 1 } sub(/^  /, ""); print; next }
/^[A-Z][a-z]*:$/ { close_all(); sub(/:$/, ""); print "*" $0 "*"; print ""; next }
{ close_all(); print escape($0) }
END { close_all() }
