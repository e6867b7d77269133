#!/bin/sh
# Writes what the binaries print of themselves into the documentation: docs/print.sh DIRECTORY_OF_BINARIES [DESTINATION_ROOT].
# A file x.in becomes x, its lines "@PROGRAM WHICH@" replaced by what `lapse-PROGRAM --print-docs WHICH` prints, and "@values@" by the
# table of the chart's values.
set -eu
binaries=$1
root=$(cd "$(dirname "$0")/.." && pwd)
destination=${2:-$root}
cd "$root"
for source in docs/*.in docs/man/*.in charts/lapse/*.in; do
    target=$destination/${source%.in}
    mkdir -p "$(dirname "$target")"
    while IFS= read -r line; do
        case $line in
        @values@) awk -f charts/lapse/values.awk charts/lapse/values.yaml ;;
        @*@)
            which=${line#@}
            which=${which%@}
            "$binaries/lapse-${which% *}" --print-docs "${which#* }"
            ;;
        *) printf '%s\n' "$line" ;;
        esac
    done < "$source" > "$target.new"
    mv "$target.new" "$target"
done
