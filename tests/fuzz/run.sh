#!/bin/bash
# Runs every fuzz target for a bounded time: `tests/fuzz/run.sh [TARGET…]`, FUZZ_SECONDS each (20). `make fuzz` builds them first.
# Starts from the seeds in tests/fuzz/corpus/TARGET; what is found anew goes to build/fuzz/corpus/TARGET, what crashes to
# build/fuzz/crashes/TARGET-*, and is a failure that names the file to run the target with.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
seconds=${FUZZ_SECONDS:-20}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: FUZZ_SECONDS=$seconds is not a number of seconds above 0" >&2; exit 64; }
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for source in tests/fuzz/*.c; do
        name=${source##*/}
        targets+=("${name%.c}")
    done
fi
mkdir -p build/fuzz/crashes build/fuzz/log
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1

# The longest input worth trying, by target.
longest() {
    case $1 in
    duration) echo 128 ;;
    detect) echo 512 ;;
    connection | observer) echo 1024 ;;
    *) echo 8192 ;;
    esac
}

run() {
    local name=$1 log=build/fuzz/log/$1.log corpus=build/fuzz/corpus/$1 seeds=tests/fuzz/corpus/$1 code
    [ -x "build/fuzz/$name" ] || { echo "not ok fuzz/$name: build/fuzz/$name is not built; run make fuzz"; return 1; }
    [ -d "$seeds" ] || { echo "not ok fuzz/$name: $seeds is missing"; return 1; }
    mkdir -p "$corpus"
    # -timeout: an input that takes 5 s is a fault like a crash.
    timeout --kill-after=10 $((seconds + 60)) "build/fuzz/$name" -max_total_time="$seconds" -max_len="$(longest "$name")" -timeout=5 \
        -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="build/fuzz/crashes/$name-" "$corpus" "$seeds" >"$log" 2>&1 </dev/null
    code=$?
    if [ $code = 0 ]; then
        printf 'ok fuzz/%s: %s inputs in %s s\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$seconds"
        return 0
    fi
    local reproducer
    reproducer=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    grep -E -A 12 'ERROR:|runtime error:|SUMMARY:' "$log" | head -n 40
    echo "not ok fuzz/$name: exit $code; again with: build/fuzz/$name ${reproducer:-(no input was written, see $log)}"
    return 1
}

# As many at once as there are processors.
most=$(nproc) running=0 passed=0 failed=0
finished() {
    wait -n && passed=$((passed + 1)) || failed=$((failed + 1))
    running=$((running - 1))
}
for name in "${targets[@]}"; do
    [ $running -lt "$most" ] || finished
    run "$name" &
    running=$((running + 1))
done
while [ $running -gt 0 ]; do finished; done
echo "fuzz: $passed passed, $failed failed"
[ $failed = 0 ]
