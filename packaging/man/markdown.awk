# The part of Markdown that docs/ uses, as scdoc. A table's row becomes its first cell with the other cells below it.
function escape(s) { gsub(/[\\*_]/, "\\\\&", s); return s }
function inline(s,    n, part, i, out, was) {
    while (match(s, /\[[^]]*\]\([^)]*\)/)) {
        was = substr(s, RSTART, RLENGTH)
        sub(/\]\(.*/, "", was)
        s = substr(s, 1, RSTART - 1) substr(was, 2) substr(s, RSTART + RLENGTH)
    }
    n = split(s, part, "`")
    out = ""
    for (i = 1; i <= n; i++) {
        gsub(/\*\*/, "", part[i])
        out = out (i % 2 ? escape(part[i]) : part[i] == "" ? "" : "*" escape(part[i]) "*")
    }
    return out
}
/^```/ { fence = !fence; print "```"; next }
fence { print; next }
/^\|/ {
    sub(/^\| */, ""); sub(/ *\|$/, "")
    n = split($0, cell, / *\| */)
    if (!table) { table = 1; for (i = 1; i <= n; i++) { head[i] = cell[i]; gsub(/`/, "", head[i]) } columns = n; next }
    if ($0 ~ /^[-| :]+$/) next
    line = inline(cell[1])
    print (line ~ /^\*/ ? "" : "\\&") line
    more = 0
    for (i = 2; i <= n; i++)
        if (cell[i] != "") printf("%s%s%s", (more++ ? "++\n" : "\t"), (columns > 2 ? "_" escape(head[i]) "_: " : ""), inline(cell[i]))
    print "\n"
    next
}
{ table = 0 }
/^# / { next }
/^## / { sub(/^## /, ""); print "# " toupper($0); next }
/^### / { sub(/^### /, ""); print "## " $0; next }
/^- / { print "- " inline(substr($0, 3)); next }
/^  [^ ]/ { print "  " inline(substr($0, 3)); next }
/^$/ { print; next }
{ line = inline($0); print (line ~ /^[-.#|:\[\]]/ ? "\\" : "") line }
