#!/bin/bash
# make check: everything about the source that a machine can hold. Two lanes side by side; one line a step; what a step said is
# in build/check/STEP.log and is shown when it failed.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
out=build/check
mkdir -p $out
rm -f $out/*.log $out/*.failed
shopt -s nullglob

rooms=(lib/*.c init/*.c proxy/*.c proxy/*/*.c)
headers=(lib/*.h init/*.h proxy/*.h proxy/*/*.h)
llhttp=()
[ -e /usr/include/llhttp.h ] || llhttp=(-isystem build/deps/include)
cpp=(-I. -D_GNU_SOURCE '-DLAPSE_VERSION="check"' -std=gnu11 "${llhttp[@]}")

# Mutable globals that are allowed, as OBJECT:SYMBOL (DESIGN: the log level and one signal flag).
globals_allowed=(
)

# Each external library has one door; libnftnl has one that writes rules and one that reads them back, and llhttp one a program:
# lapse-publish has nothing of the wing http1.
doors='
libmnl/                  1
libnftnl/                2
libnetfilter_conntrack/  1
llhttp.h                 2
ares.h                   1
openssl/                 1
nghttp2/                 1
jansson.h                1
yaml.h                   1
pcre2.h                  1
sys/sdt.h                1
'

# Everything, tests included. gcc optimises, since only then it sees values that are used before they are set.
build() { # COMPILER FLAVOUR
    local dir=$out/$1 objects=() source
    for source in tests/bench/*.c tests/fuzz/*.c; do objects+=("$dir/obj/${source%.c}.o"); done
    make --no-print-directory -k -j2 OUT="$dir" BUILD="$2" WERROR=1 CC="$1" test-binaries "${objects[@]}"
}

headers_alone() {
    local header bad=0
    for header in "${headers[@]}"; do
        printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
            gcc "${cpp[@]}" -Wall -Wextra -Wno-unused-parameter -Werror -fsyntax-only -x c - 2>&1 ||
            { echo "$header: does not compile alone"; bad=1; }
    done
    return $bad
}

tidy() {
    set -o pipefail
    printf '%s\n' "${rooms[@]}" | xargs -P 2 -I '{}' clang-tidy --quiet '{}' -- "${cpp[@]}" 2>/dev/null |
        { grep -E ' (error|warning): ' || true; } # how it got there is long
}

static_analysis() {
    cppcheck --quiet --std=c11 -j2 --enable=warning,performance,portability --inline-suppr --suppress=missingIncludeSystem \
        --error-exitcode=1 -I. -D_GNU_SOURCE '-DLAPSE_VERSION="check"' "${rooms[@]}" 2>&1
}

# At most 600 lines a file, 100 a function; the opening and the closing brace of a function stand in the first column.
sizes() {
    awk '
        FNR == 1 { start = 0 }
        FNR == 601 { print FILENAME ": more than 600 lines"; bad = 1 }
        FILENAME ~ /\.[ch]$/ && /^\{/ { start = FNR }
        FILENAME ~ /\.[ch]$/ && /^\}/ && start {
            if (FNR - start > 101) { print FILENAME ":" start ": a function of " FNR - start - 1 " lines"; bad = 1 }
            start = 0
        }
        END { exit bad }' "${rooms[@]}" "${headers[@]}" {lib,init,proxy}/*.def \
        tests/*.{sh,py} tests/*/*.{c,h,sh,py} tests/*/*/*.{c,h,sh,py} tests/*/*/*/*.{c,h}
}

one_door_each() {
    local bad=0 library most found
    while read -r library most; do
        [ -n "$library" ] || continue
        mapfile -t found < <(grep -lE "^#include <$library" "${rooms[@]}" "${headers[@]}")
        [ ${#found[@]} -le "$most" ] || { echo "<$library> has ${#found[@]} doors, $most allowed: ${found[*]}"; bad=1; }
    done <<<"$doors"
    grep -nE '^#include <(libmnl|libnftnl|libnetfilter_conntrack|openssl|nghttp2)/|^#include <(llhttp|ares|yaml|pcre2|jansson).h>' "${headers[@]}" &&
        { echo 'a header includes an external library'; bad=1; }
    grep -nE '^#include <(libnftnl|libnetfilter_conntrack)/' lib/*.[ch] proxy/{,*/}*.[ch] && { echo 'GPL libraries belong to init alone'; bad=1; }
    return $bad
}

rooms_apart() {
    grep -nE '^#include "(init|proxy|tests)/' lib/*.[ch] && { echo 'lib knows nothing of init and proxy'; return 1; }
    grep -nE '^#include "(proxy|tests)/' init/*.[ch] && { echo 'init knows nothing of proxy'; return 1; }
    grep -nE '^#include "(init|tests)/' proxy/{,*/}*.[ch] && { echo 'proxy knows nothing of init'; return 1; }
    return 0
}

# The wings of proxy/ as docs/architecture.md has them, and that functions are named after their files.
wings() {
    /usr/bin/python3 tests/wings.py
}

# What lies in a writable section of an object, .data.rel.ro apart (constant once relocated).
no_mutable_globals() {
    local found allowed=" ${globals_allowed[*]} " bad=0 objects=($out/gcc/obj/{lib,init,proxy,proxy/*}/*.o)
    [ ${#objects[@]} -ge ${#rooms[@]} ] || { echo 'not every source was built'; return 1; }
    while read -r found; do
        [[ $allowed == *" $found "* ]] || { echo "$found: a mutable global"; bad=1; }
    done < <(cd $out/gcc/obj && objdump -t lib/*.o init/*.o proxy/{,*/}*.o | awk '
        /file format/ { sub(":$", "", $1); object = $1 }
        # VALUE FLAGS SECTION SIZE NAME, the flags being seven characters of which blanks count; O = object, d = section.
        NF >= 5 && substr($0, 23, 1) != "d" && (substr($0, 24, 1) == "O" || $(NF - 2) ~ /^\.t/) &&
            $(NF - 2) ~ /^(\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ && $(NF - 2) !~ /^\.data\.rel\.ro/ {
            sub("\\.[0-9]+$", "", $NF)
            print object ":" $NF
        }')
    return $bad
}

scripts() {
    local script bad=0
    for script in tests/*.sh tests/*/*.sh docs/*.sh charts/*/*.sh .ci/run; do bash -n "$script" || bad=1; done
    python3 - tests/*.py tests/*/*.py tests/*/*/*.py charts/*/*.py <<<'import sys
for path in sys.argv[1:]: compile(open(path).read(), path, "exec")' || bad=1
    return $bad
}

# Every page a binary prints is as it prints it now.
docs_match() {
    local fresh=$out/docs page bad=0
    rm -rf $fresh && mkdir -p $fresh
    docs/print.sh $out/gcc $fresh || return 1
    while read -r page; do
        diff -u "$page" "$fresh/$page" || { echo "$page: not what the binaries print; run make docs"; bad=1; }
    done < <(cd $fresh && find . -type f | sort)
    [ -n "$(find $fresh -type f -print -quit)" ] || { echo 'docs/print.sh printed nothing'; bad=1; }
    return $bad
}

man_pages() {
    local pages=(docs/man/*.8)
    [ ${#pages[@]} -gt 0 ] || { echo 'no man page in docs/man'; return 1; }
    mandoc -T lint -W warning "${pages[@]}"
}

step() { # NAME COMMAND…
    local name=$1 start=${EPOCHREALTIME/./} log ms
    log=$out/${name//[^a-zA-Z0-9]/-}.log
    shift
    "$@" >"$log" 2>&1 </dev/null && local state=ok || local state=FAILED
    ms=$(((${EPOCHREALTIME/./} - start) / 1000))
    {
        flock 8
        printf '  check  %-44s %-6s %3d.%d s\n' "$name" "$state" $((ms / 1000)) $((ms % 1000 / 100))
        [ $state = ok ] || { grep -v '^  \(CC\|LINK\) ' "$log" | tail -n 40 | sed 's/^/         /'; : >"$out/${log##*/}.failed"; }
    } 8>>$out/.lock
}

{
    step 'gcc, warnings are errors' build gcc release
    step 'no mutable globals' no_mutable_globals
    step 'pages match binaries' docs_match
    step 'man pages' man_pages
    step 'headers compile alone' headers_alone
    step 'cppcheck' static_analysis
} &
{
    step 'files and functions in size' sizes
    step 'one door to each library' one_door_each
    step 'rooms apart' rooms_apart
    step 'wings as drawn' wings
    step 'scripts parse' scripts
    step 'clang, warnings are errors' build clang debug
    step 'clang-tidy' tidy
} &
wait

failed=($out/*.failed)
steps=($out/*.log)
echo "check: $((${#steps[@]} - ${#failed[@]})) passed, ${#failed[@]} failed"
[ ${#failed[@]} = 0 ]
