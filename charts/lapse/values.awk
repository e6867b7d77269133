# The table of values.yaml: a line for each key behind a comment that begins with "# --"; the comment's further lines belong to it.
function flush() { text = "" }
BEGIN { print "| value | default | what it is |"; print "|---|---|---|" }
/^ *# -- / { sub(/^ *# -- /, ""); text = $0; next }
/^ *# / && text != "" { sub(/^ *# /, ""); text = text " " $0; next }
/^ *[A-Za-z_]+:/ {
    indent = match($0, /[^ ]/) - 1
    key = $0; sub(/^ */, "", key); value = key; sub(/:.*/, "", key); sub(/^[^:]*: */, "", value)
    path[indent / 2] = key
    if (text == "") next
    name = path[0]
    for (i = 1; i <= indent / 2; i++) name = name "." path[i]
    gsub(/\|/, "\\|", text)
    printf "| `%s` | %s | %s |\n", name, value == "" ? "see values.yaml" : "`" value "`", text
    flush()
    next
}
/^ *$/ { flush() }
