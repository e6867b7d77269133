# shellcheck shell=bash
# What the demo shows and how it keeps score; sourced by demo.sh. Colour and movement only on a terminal.

width=100
moving='' colour='' bold='' dim='' green='' red='' blue='' yellow='' plain=''
if [ -t 1 ]; then
    moving=yes
    columns=$(tput cols 2>/dev/null) && [ "$columns" -ge 60 ] && [ "$columns" -lt 100 ] && width=$columns
fi
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    colour=colour bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[1;31m' blue=$'\e[1;34m' yellow=$'\e[33m' plain=$'\e[0m'
fi

at=0                    # the scene we are in
gap=''                  # whether an empty line is due before a command
titles=() took=()       # by number
declare -A failed=() reasons=()
seen='' record=''       # what the last command printed, the last record shown
took_ms=0 took_s=0      # how long the last command took

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
seconds() { printf '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100)); }
rule() { printf "%*s" "$1" '' | sed 's/ /─/g'; }

# title NAME TEXT: a line across the screen with it.
title() {
    local text="── $1 · $2 "
    printf '\n%s%s%s%s\n' "$blue" "$text" "$(rule $((width > ${#text} ? width - ${#text} : 0)))" "$plain"
    gap=yes
}

say() {
    fold -s -w $((width - 2)) <<<"$*" | sed 's/ *$//; s/^/  /; 1s/^/\n/'
    gap=''
}

# typed SPACE COMMAND: a command as one could type it.
typed() {
    local command=${2//$work\/talk/tests/demo/talk}
    command=${command//$work\/call/tests/demo/call}
    [ -z "$gap" ] || echo
    gap=''
    printf '  %s%s$%s %s%s%s\n' "$yellow" "$1" "$plain" "$bold" "$command" "$plain"
}

lines() { /usr/bin/python3 "$here/demo/record.py" show "$width" "$colour"; }

# --- scenes and claims ---

scene() {
    at=$((at + 1))
    titles[at]=$1
    scene_from=$(now_ms)
    title "$at" "$1"
}

scene_over() { took[at]=$(($(now_ms) - scene_from)); }

scene_again() {
    at=$1
    title "$1, concluded" "$2"
}

# claim SENTENCE TEST…: says whether it holds; the scene fails when it does not.
claim() {
    local sentence=$1
    shift
    gap=yes
    if "$@"; then
        printf '  %s✓%s %s\n' "$green" "$plain" "$sentence"
    else
        printf '  %s✗ NOT SHOWN: %s%s\n' "$red" "$sentence" "$plain"
        failed[$at]=${failed[$at]:-$sentence}
    fi
}

# matches TEXT PATTERN: lines are joined by spaces first.
matches() { [[ ${1//$'\n'/ } =~ $2 ]]; }

# answered STATUS REASON MILLISECONDS: the last command got this answer from the proxy, explained, after that time.
answered() {
    matches "$seen" "^HTTP/1.1 $1 .*lapse-reason: $2 .*lapse-detail: [^ ]" && between $(($3 - 20)) $(($3 + 2000))
}

# between LEAST MOST: the milliseconds that the last command took.
between() { [ "$took_ms" -ge "$1" ] && [ "$took_ms" -le "$2" ]; }

# --- commands and records ---

# run SPACE COMMAND: shows the command as one could type it, runs it, shows what it printed and keeps that in $seen.
run() {
    local from
    typed "$1" "$2"
    [ -z "$moving" ] || printf '  %s…%s\r' "$dim" "$plain"
    from=$(now_ms)
    seen=$(inside "$1" "$2" 2>&1 | tr -d '\r')
    took_ms=$(($(now_ms) - from))
    took_s=$(seconds $took_ms)
    /usr/bin/python3 "$here/demo/record.py" answer "$width" "$colour" <<<"$seen"
}

# record POD KEY=VALUE…: waits for the proxy's record that has these fields, shows it and keeps it in $record.
record() {
    local pod=$1
    shift
    if record=$(/usr/bin/python3 "$here/demo/record.py" find "$work/$pod.log" "$work/shown" "$@"); then
        echo "$record" >>"$work/shown"
        printf '  %slapse-proxy logged%s\n' "$dim" "$plain"
        lines <<<"$record"
        matches " ${reasons[$at]:-} " " $(field reason) " || reasons[$at]+="${reasons[$at]:+ }$(field reason)"
    else
        claim "a record with $*" false
    fi
}

field() { sed -n -E "s/.* $1=\"?([^\" ]*).*/\1/p" <<<"$record"; }

# await PID [TEXT SECOND]: waits for it, with a countdown to that second of the clock where there is a terminal.
await() {
    while [ -n "$moving" ] && [ $# = 3 ] && kill -0 "$1" 2>/dev/null && [ $(($3 - EPOCHSECONDS)) -gt 0 ]; do
        printf '\r  %s… %s in %d s %s' "$dim" "$2" $(($3 - EPOCHSECONDS)) "$plain"
        sleep 0.5
    done
    [ -z "$moving" ] || printf '\r%*s\r' $((width - 1)) ''
    wait "$1" 2>/dev/null
    forget "$1"
}

# --- the end ---

summary() {
    local number mark
    title "Eight scenes" "in $(seconds $(($(now_ms) - started))) s"
    printf '\n%s%6s%-53s %7s  %s%s\n' "$dim" '' scene took 'reasons seen' "$plain"
    for number in "${!titles[@]}"; do
        mark="${failed[$number]:+$red✗}"
        printf '  %s%s %s %-53s %5s s  %s\n' "${mark:-$green✓}" "$plain" "$number" "${titles[number]}" "$(seconds "${took[number]}")" \
            "${reasons[$number]:-none}"
    done
    for number in "${!failed[@]}"; do
        printf '\n  %sThe demo failed. Scene %s did not show: %s%s' "$red" "$number" "${failed[$number]}" "$plain"
    done
    if [ ${#failed[@]} -gt 0 ]; then
        mkdir -p "$out/demo" && cp "$work"/*.log "$out/demo/" && printf '\n  All that was logged is in %s\n' "$out/demo"
        return 1
    fi
    printf '\n  %s✓%s all eight showed what they claim\n' "$green" "$plain"
}
