#!/bin/bash
# The demo: `make demo`, or `tests/demo.sh build`. Two hosts as network namespaces, Lapse in one of them, eight scenes; each is
# checked, and the demo fails (exit 1) when one did not show what it claims. Takes under a minute, leaves nothing behind.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(cd "${1:-build}" && pwd) || exit 1
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "demo: needs root, to make network namespaces; run it as root, or install sudo" >&2; exit 1; }
    echo "demo: asking sudo for root, to make network namespaces"
    exec sudo env ${NO_COLOR:+NO_COLOR="$NO_COLOR"} "$here/demo.sh" "$out"
fi

# What a user has set must not change what is shown.
unset "${!LAPSE_@}" http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY no_proxy NO_PROXY
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin

readonly PROXY_UID=2102 APP_UID=65534 KEPT_S=36
as_init="setpriv --reuid $APP_UID --regid $APP_UID --clear-groups --inh-caps=-all,+net_admin \\
            --ambient-caps=-all,+net_admin --bounding-set=-all,+net_admin"
as_proxy="setpriv --reuid $PROXY_UID --regid $PROXY_UID --clear-groups --inh-caps=-all --bounding-set=-all \\
            --no-new-privs"
as_app="setpriv --reuid $APP_UID --regid $APP_UID --clear-groups --inh-caps=-all --bounding-set=-all"

# --- what is shown ---

. "$here/demo/screen.sh"

# --- the stage: namespaces, programs, and their end ---

work='' pids=() spaces=()
started=$(now_ms)

# Ends what was started, by its pid, and takes the namespaces away; true when none of it is left.
strike() {
    local space left=''
    if [ ${#pids[@]} -gt 0 ]; then
        kill "${pids[@]}" 2>/dev/null
        sleep 0.2
        kill -KILL "${pids[@]}" 2>/dev/null
        wait "${pids[@]}" 2>/dev/null
    fi
    for space in "${spaces[@]}"; do
        left+=$(ip netns pids "$space")
        ip netns del "$space" || left+=$space
    done
    pids=() spaces=()
    [ -z "$left" ]
}

# On every way out, Ctrl-C too.
cleanup() {
    local status=$?
    trap '' INT TERM HUP PIPE
    strike
    [ -z "$work" ] || rm -rf "$work"
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

die() {
    echo "demo: $*" >&2
    exit 1
}

space() { echo "lapse-demo-$1-$$"; }

space_new() {
    ip netns add "$(space "$1")" || die "cannot make a network namespace; in a container this needs --privileged"
    spaces+=("$(space "$1")")
    ip -n "$(space "$1")" link set lo up
}

# inside SPACE COMMAND…: a shell command line in that namespace.
inside() {
    local where=$1
    shift
    ip netns exec "$(space "$where")" bash -c "$*"
}

# start SPACE LOG COMMAND: the same in the background; $! is its pid.
start() {
    ip netns exec "$(space "$1")" bash -c "exec $3" >>"$work/$2.log" 2>&1 </dev/null &
    pids+=($!)
}

# A process that has ended and been waited for: its pid may be another's by now.
forget() {
    local pid kept=()
    for pid in "${pids[@]}"; do [ "$pid" = "$1" ] || kept+=("$pid"); done
    pids=("${kept[@]}")
}

# until_listening SPACE PORT LOG
until_listening() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        [ -z "$(inside "$1" ss -Hltn "sport = :$2")" ] || return 0
        sleep 0.05
    done
    die "nothing listens on port $2 in $1: $(tail -n 5 "$work/$3.log")"
}

# pod_new NAME NUMBER: a namespace whose eth0 is 10.78.NUMBER.2, with the client at 10.78.NUMBER.1.
pod_new() {
    space_new "$1"
    ip link add "pod$2" netns "$(space client)" type veth peer name eth0 netns "$(space "$1")" &&
        ip -n "$(space client)" addr add "10.78.$2.1/24" dev "pod$2" && ip -n "$(space client)" link set "pod$2" up &&
        ip -n "$(space "$1")" addr add "10.78.$2.2/24" dev eth0 && ip -n "$(space "$1")" link set eth0 up ||
        die "cannot connect the namespaces $1 and client"
}

# init SPACE OPTIONS, proxy SPACE OPTIONS: the two programs; what they log goes to init.log and SPACE.log.
init() {
    inside "$1" "$as_init $work/lapse-init $2" >"$work/init.log" 2>&1 || die "lapse-init: $(cat "$work/init.log")"
}

proxy() {
    start "$1" "$1" "$as_proxy $work/lapse-proxy $2"
    proxy_pid=$!
    until_listening "$1" 4143 "$1"
    until_listening "$1" 4140 "$1"
}

nginx_start() {
    local text
    text=$(<"$here/demo/nginx.conf")
    text=${text//@WORK@/$work/$1}
    mkdir "$work/$1" && chown $APP_UID "$work/$1" && echo "${text//@PLACE@/$1}" >"$work/$1/nginx.conf"
    start "$1" "nginx-$1" "$as_app nginx -e stderr -c $work/$1/nginx.conf"
    until_listening "$1" 8080 "nginx-$1"
}

stage() {
    work=$(mktemp -d /tmp/lapse-demo.XXXXXX) && chmod 755 "$work" || exit 1
    export HOME=$work
    # Copies, as a home directory may be closed to the users these programs run as.
    cp "$out/lapse-init" "$out/lapse-proxy" "$here"/demo/{talk.py,call.py,board.yaml} "$work/" || die "run make first"
    space_new client
    pod_new pod 1
    pod_new strict 2
    pod_new half 3
    pod_new control 4
    pod_new calls 5
    nginx_start client
    nginx_start pod
    nginx_start strict
    database_start
    start client board "$as_app $work/call.py serve 50051"
    start strict slow "$as_app $work/talk.py slow 9001 5"
    start half count "$as_app $work/talk.py count 9000 6"
    start control count "$as_app $work/talk.py count 9000 6"
}

# A real database where there is one; it must speak first, so of the usual ones: MariaDB.
database_start() {
    if command -v mariadbd >/dev/null; then
        database="MariaDB" database_log=mariadb
        mkdir "$work/db" && chown $APP_UID "$work/db"
        start client mariadb "$as_app mariadbd --no-defaults --datadir=$work/db --socket=$work/db/socket --port=3306 \
            --skip-grant-tables --skip-networking=0 --skip-name-resolve --innodb-log-file-size=4M --innodb-buffer-pool-size=8M"
    else
        database="a stand-in that greets as MariaDB does (no MariaDB is installed here)" database_log=greeter
        start client greeter "$as_app $work/talk.py greeter 3306"
    fi
}

# --- the scenes ---

opening() {
    title "Lapse" "the sidecar that governs how long connections live, and always says why one ended"
    cat <<TEXT

  Two network namespaces stand for two hosts. Nothing outside them is touched.

      client  10.78.1.1                          pod  10.78.1.2
      curl ───────────────────────────────────►  lapse-proxy :4143 inbound ───►  nginx :8080
      nginx :8080  ◄───────────────────────────  lapse-proxy :4140 outbound ◄───  curl

  ${dim}client\$ stands for: ip netns exec $(space client)
  pod\$    stands for: ip netns exec $(space pod)
  strict\$, half\$ and control\$ are further pods; there setpriv is used just as here, but not shown.
  Records are lapse-proxy's own log lines, whole, and only broken to fit the screen.$plain
TEXT
    say "lapse-init redirects the pod's TCP to the proxy: as an ordinary user, with CAP_NET_ADMIN and nothing else."
    typed pod "$as_init lapse-init"
    init pod ''
    lines <"$work/init.log"
    say "lapse-proxy carries it: as user $PROXY_UID, without any capability."
    typed pod "$as_proxy lapse-proxy &"
    proxy pod ''
    lines <"$work/pod.log"
    local status
    status=$(<"/proc/$proxy_pid/status")
    claim "lapse-proxy runs as uid $PROXY_UID with no capability in its effective, permitted or bounding set" \
        matches "$status" "Uid:.$PROXY_UID.*CapPrm:.0+[^0-9a-f].*CapEff:.0+[^0-9a-f].*CapBnd:.0+[^0-9a-f]"
    inside pod "$as_init $work/lapse-init check" >"$work/check.log" 2>&1
    claim "lapse-init check: the rules are in the kernel, and a probe through them came back" test $? = 0
    [ ${#failed[@]} = 0 ] || die "the stage does not stand: $(cat "$work/check.log")"
}

# ask_twice RATE URL: two requests; curl starts each that long after the one before, and keeps its connection if it can.
ask_twice() { printf '%s' "curl -sS --rate $1 -w 'status %{http_code}, new connections: %{num_connects}\n' \\"$'\n'"            $2 $2"; }

scene1() {
    scene "HTTP through inbound and outbound"
    run client "curl -sS -w 'status %{http_code}\n' http://10.78.1.2:8080/"
    claim "the client got nginx's answer from the pod" matches "$seen" "nginx in pod .*status 200"
    record pod direction=inbound server=10.78.1.2:8080
    claim "it came through the inbound side, as HTTP, to the address the client had dialled" \
        matches "$record" "protocol=http/1.1 client=10.78.1.1:.* requests=1 "
    run pod "curl -sS -w 'status %{http_code}\n' http://10.78.1.1:8080/"
    claim "the pod got an answer from outside" matches "$seen" "nginx in client .*status 200"
    record pod direction=outbound server=10.78.1.1:8080
    claim "it went through the outbound side" matches "$record" "protocol=http/1.1 client=10.78.1.2:.* requests=1 "
}

# The long wait goes on beside the other scenes; scene2_end looks at what came of it.
scene2_begin() {
    kept_from=$(now_ms)
    start client kept "$(ask_twice 100/h http://10.78.1.2:8080/)"
    kept_pid=$!
}

scene2() {
    scene "35 s idle is no reason to close; idleConnection=2s is"
    say "Two requests $KEPT_S s apart, on one connection. This began before scene 1 and goes on beside the others: see the end."
    typed client "$(ask_twice 100/h http://10.78.1.2:8080/) &"
    say "Meanwhile a second pod, whose proxy was told idleConnection=2s (and two limits for scene 3). One request, then silence:"
    init strict ''
    local options='--timeout-idle-connection 2s --timeout-request-headers 1s --timeout-request 1s'
    typed strict "lapse-proxy ${options/ --timeout-request-h/ $'\\\n'            --timeout-request-h} &"
    proxy strict "$options"
    run client "printf 'GET / HTTP/1.1\r\nHost: pod\r\n\r\n' | curl -sS telnet://10.78.2.2:8080"
    claim "the request was answered, and $took_s s after it the connection was closed" \
        eval 'matches "$seen" "^HTTP/1.1 200 .*nginx in strict" && between 2000 4000'
    record strict reason=idle_timeout
    claim "the record names the timer, its value, who set it, and that the connection idled for 2 s" \
        matches "$record" "idle_s=2\.[0-9] timer=idleConnection value=2s set_by=.*--timeout-idle-connection"
}

scene2_end() {
    scene_again 2 "the connection that was left idle for $KEPT_S s"
    await "$kept_pid" "the second request comes" $((kept_from / 1000 + KEPT_S))
    took[2]=$(($(now_ms) - kept_from))
    typed client "$(ask_twice 100/h http://10.78.1.2:8080/)"
    lines <"$work/kept.log"
    claim "both requests were answered, the second without a new connection" \
        matches "$(<"$work/kept.log")" "status 200, new connections: 1 .*status 200, new connections: 0"
    record pod server=10.78.1.2:8080 requests=2
    local open_s
    open_s=$(field open_s)
    claim "the proxy carried one connection for $open_s s, 35 s or more of them idle" test "${open_s%.*}" -ge 35
}

scene3() {
    scene "Slow header, slow response: 408 and 504, explained"
    say "A request head that never ends; this proxy allows requestHeaders=1s."
    run client "printf 'GET / HTTP/1.1\r\nHost: pod\r\n' | curl -sS telnet://10.78.2.2:8080"
    claim "408 after $took_s s, with the reason in the answer" answered 408 header_timeout 1000
    record strict reason=header_timeout
    claim "the record names timer, value and setting" matches "$record" "timer=requestHeaders value=1s set_by="
    say "An application that takes 5 s over its answer; this proxy allows request=1s."
    run client "curl -sSi http://10.78.2.2:8080/slow"
    claim "504 after $took_s s, with the reason in the answer" answered 504 request_timeout 1000
    record strict reason=request_timeout
    claim "the record names timer, value and setting" matches "$record" "timer=request value=1s set_by="
}

scene4() {
    scene "A server closes when idle: the next request succeeds"
    say "On port 8081 nginx closes a connection after 1 s idle. The client's two requests are 3 s apart:"
    run client "$(ask_twice 20/m http://10.78.1.2:8081/)"
    claim "both were answered, and the client kept one connection throughout" \
        matches "$seen" "status 200, new connections: 1 .*status 200, new connections: 0"
    local numbers
    numbers=$(sed -n 's/nginx connection \([0-9]*\),.*/\1/p' <<<"$seen" | paste -sd ' ')
    claim "though nginx, which numbers its connections, served them on two: $numbers" \
        matches "$seen" "nginx connection ([0-9]+), request 1 .*nginx connection ([0-9]+), request 1 "
    record pod server=10.78.1.2:8081 requests=2
    claim "the record tells of both requests and that the client ended it" matches "$record" "by=client .*requests=2 "
}

scene5() {
    scene "Half-close: a late answer outlives close_wait"
    say "The client has finished (FIN), the application answers 6 s later. conntrack's close_wait, 60 s by default, is lowered" \
        "to 3 s:"
    half_closed 3s
    say "The other remedy: conntrack itself remembers longer. lapse-init again, and the proxy anew:"
    kill "$proxy_pid"
    await "$proxy_pid"
    half_closed 1h
    claim "lapse-init found 3 s and set 3600 s" matches "$(<"$work/init.log")" "old_s=3 new_s=3600"
    say "For comparison, begun with the demo: close_wait lowered to 3 s when the proxy was running already. It goes by the 60 s" \
        "that it found at its start, and probes every 19 s:"
    typed client "$work/talk.py ask 10.78.4.2 9000 'how many bytes?'"
    await "$control_pid" "the client gives up" $((EPOCHSECONDS + 3))
    lines <"$work/control-client.log"
    claim "the answer did not arrive: the probes, one a second, are what made the difference above" \
        matches "$(<"$work/control-client.log")" "no answer within"
    record control server=10.78.4.2:9000
    claim "and the record says that conntrack forgot, and what to do" \
        matches "$record" "reason=redirect_state_lost by=kernel .*--close-wait-timeout"
}

# half_closed DURATION: close_wait set to that, a proxy, and a client that finishes 6 s before it is answered.
half_closed() {
    typed half "lapse-init --close-wait-timeout $1"
    init half "--close-wait-timeout $1"
    grep close_wait "$work/init.log" | lines
    typed half "lapse-proxy &"
    proxy half ''
    run client "$work/talk.py ask 10.78.3.2 9000 'how many bytes?'"
    claim "the answer arrived" matches "$seen" "after 6\.[0-9] s: you sent 15 bytes"
    record half reason=done server=10.78.3.2:9000
}

control_begin() {
    init control ''
    proxy control ''
    init control '--close-wait-timeout 3s'
    start client control-client "$work/talk.py ask 10.78.4.2 9000 'how many bytes?'"
    control_pid=$!
}

scene6() {
    scene "A database that speaks first: no delay, no port list"
    say "On port 3306 of the client's host: $database. The pod connects and waits."
    until_listening client 3306 $database_log
    run pod "$work/talk.py greeting 10.78.1.1 3306"
    local through
    through=$(greeted_ms)
    claim "it was greeted after $through ms at best" test "${through%.*}" -lt 200
    record pod server=10.78.1.1:3306
    claim "carried as opaque TCP, without waiting for the detect timer (10 s)" matches "$record" "protocol=opaque "
    say "The same as user $PROXY_UID, whose connections are not redirected, so straight to the database:"
    run pod "setpriv --reuid $PROXY_UID --clear-groups $work/talk.py greeting 10.78.1.1 3306"
    claim "$(greeted_ms) ms at best; the difference is the 20 ms a client gets to speak first (--detect-grace)" \
        test "$(greeted_ms | sed 's/\..*//')" -lt "${through%.*}"
}

# The shortest of the three times that talk.py measured.
greeted_ms() { sed -n 's/.*three times, after \(.*\) ms/\1/p' <<<"$seen" | tr ' ' '\n' | sort -n | grep -m 1 . || echo 99999; }

scene7() {
    scene "Nobody listens: refused, or a 502 that says why"
    say "Nothing listens on the pod's port 8089, as when an application has not started yet. lapse-init leaves such a connection to" \
        "the kernel, so a probe, a gateway or curl is told the truth at once:"
    run client "curl -sSi http://10.78.1.2:8089/"
    claim "curl could not connect, after $took_s s" eval 'matches "$seen" "Failed to connect|Could not connect" && between 0 1000'
    inside pod "$as_init $work/lapse-init status" >"$work/status.log" 2>&1
    typed pod "lapse-init status | grep 'nobody listens'"
    grep 'nobody listens' "$work/status.log" | lines
    claim "lapse-init counted it" matches "$(grep 'nobody listens' "$work/status.log")" "^ *[1-9][0-9]* packets"
    say "Who would rather have an answer that names the cause, redirects such ports too:"
    typed pod "lapse-init --redirect-dead-ports"
    init pod --redirect-dead-ports
    run client "curl -sSi http://10.78.1.2:8089/"
    claim "502, with the reason in the answer" answered 502 connect_refused 0
    record pod server=10.78.1.2:8089
    claim "the record blames the server, and no one else" matches "$record" "reason=connect_refused by=server "
}

scene8() {
    scene "A gRPC call times out, its neighbour lives on"
    say "A fifth pod calls two methods at once, on one connection of HTTP/2. A GRPCRoute gives one of them 1 s:"
    typed calls "cat tests/demo/board.yaml"
    grep -A 99 GRPCRoute "$work/board.yaml" | sed 's/^/  │ /'
    until_listening client 50051 board
    init calls ''
    typed calls "lapse-proxy --config tests/demo/board.yaml &"
    proxy calls "--config $work/board.yaml"
    say "Client and server here are scripts that write the frames themselves; make test has gRPC itself."
    run calls "$work/call.py call 10.78.5.1 50051 /demo.Board/Watch /demo.Board/Ask"
    claim "Ask was answered after 1 s: gRPC's status 4, and the sentence that says which timer, and who set it" matches "$seen" \
        " 1\.[0-2] s  stream 3 /demo.Board/Ask +grpc-status: 4 .*grpc-message: .*request=1s .*GRPCRoute default/board.*lapse-reason: request_timeout"
    claim "Watch, on the same connection, went on for 3 s and ended well" \
        matches "$seen" "2\.[0-9] s  stream 1 /demo.Board/Watch +message: news 2 .* 3\.[0-9] s  stream 1 /demo.Board/Watch +grpc-status: 0"
    claim "the server was told at once that nobody waits for Ask" matches "$(<"$work/board.log")" "stream 3: RST_STREAM, code 8"
    record calls reason=request_timeout
    claim "the record is the call's own: stream 3, of this route, by this timer" \
        matches "$record" "protocol=http/2 .*route=\"GRPCRoute default/board rule 0\" .*timer=request value=1s .*stream=3 .*grpc_status=4"
}

by_hand() {
    title "By hand" "on a process of your own, as root"
    cat <<'TEXT'

    ip netns add trial && ip -n trial link set lo up
    ip link add trial0 type veth peer name eth0 netns trial
    ip addr add 10.99.0.1/24 dev trial0 && ip link set trial0 up
    ip -n trial addr add 10.99.0.2/24 dev eth0 && ip -n trial link set eth0 up

    build/lapse-init --netns /run/netns/trial
    ip netns exec trial build/lapse-proxy --timeout-idle-connection 5s &         # becomes user 2102
    ip netns exec trial python3 -m http.server -p HTTP/1.1 8080 2>/dev/null &    # your process here
    curl -sSI --rate 9/m http://10.99.0.2:8080/ http://10.99.0.2:8080/           # 6 s apart
    build/lapse-init status --netns /run/netns/trial                             # rules, counters
    kill %1 %2; ip netns del trial                                               # and away
TEXT
}

stage
opening
scene2_begin
control_begin
for number in 1 2 3 4 5 6 7 8; do
    "scene$number"
    scene_over
done
scene2_end
claim "the demo has ended its processes and removed its namespaces; nothing is left" strike
summary || exit 1
by_hand
