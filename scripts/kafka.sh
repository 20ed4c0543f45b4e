#!/usr/bin/env bash
# A real Apache Kafka for tests: KRaft nodes on loopback, one or several, their jars fetched by Maven.
#
#   scripts/kafka.sh start [N]   fetches what is missing, starts it, waits until it answers, prints the variable for tests
#   scripts/kafka.sh stop [N]    stops it; what it holds stays in .kafka/<port>
#   scripts/kafka.sh kill [N]    kills it (SIGKILL)
#   scripts/kafka.sh freeze [N]  stops its process (SIGSTOP); thaw lets it go on
#   scripts/kafka.sh thaw [N]
#   scripts/kafka.sh wipe        deletes what the nodes hold; they must not run
#   scripts/kafka.sh status      exit code 0 when all nodes run
#
# N is a node's number, from 1; without it the verb is for all nodes. LAUDSPEAKER_KAFKA_NODES (1) is how many there are. Three nodes
# replicate each topic three times, with min.insync.replicas 2, and take about 1.3 GB of memory.
#
# LAUDSPEAKER_KAFKA_PORT (19092) places node 1, and each further node 10 ports after the one before. Each node has a folder of its
# own, named by its port, so that several clusters can run side by side. The ports of one node are its own, P, and:
#   P+1   its controller (LAUDSPEAKER_KAFKA_CONTROLLER_PORT, with one node)
#   P+2   the other brokers, with several nodes
#   P+3   TLS, with LAUDSPEAKER_KAFKA_TLS=1; .kafka/<port of node 1>/tls/ca.pem is what a client has to trust
# With LAUDSPEAKER_KAFKA_CUT=1 nodes reach each other only through proxies, which whoever starts the nodes has to provide, and can
# cut: P+4 must lead to P+2 of the same node, and P+4+M (M = 1, 2, 3) to the controller of node M. The latter is used by node P alone.
#
# With one node, LAUDSPEAKER_KAFKA_ADVERTISED="20001 20002" adds a listener for each of these ports, on the ports after the
# controller's: it tells its clients to come to that port. A proxy that listens there and leads to the listener is then on the way of
# all that these clients say. LAUDSPEAKER_KAFKA_SESSION is how long, in ms, a broker may miss its heartbeats until it is fenced (6000; with one
# node 30000, as nobody else could lead its partitions): a broker that was killed is let in again after it. kafka/pom.xml pins the version.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=$(dirname "$here")/.kafka
first=${LAUDSPEAKER_KAFKA_PORT:-19092}
nodes=${LAUDSPEAKER_KAFKA_NODES:-1}
version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$here/kafka/pom.xml")
lib=$home/lib-$version
certificates=$home/$first/tls
password=laudspeaker # of a certificate for loopback

fail() { echo "kafka.sh: $*" >&2; exit 1; }
command -v ps >/dev/null || fail "ps is missing; install it (Debian: apt-get install procps)"

port() { echo $((first + 10 * ($1 - 1))); }
folder() { echo "$home/$(port "$1")"; }
controller() { # port of node $1
  if ((nodes == 1)); then echo "${LAUDSPEAKER_KAFKA_CONTROLLER_PORT:-$((first + 1))}"; else echo $(($(port "$1") + 1)); fi
}

pid() { # of our node $1, if it runs: a stale pid file may name somebody else's process
  local p run
  run=$(folder "$1")
  p=$(cat "$run/pid" 2>/dev/null) && [[ -n $p ]] && ps -o command= -p "$p" 2>/dev/null | grep -qF "$run/server.properties" && echo "$p"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$(port "$1")") 2>/dev/null; }

need_java() {
  local major
  command -v java >/dev/null || fail "Java 17 or newer is missing; install it (Debian: apt-get install openjdk-17-jre-headless)"
  major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
  [[ ${major:-0} -ge 17 ]] || fail "Kafka $version needs Java 17 or newer, this is Java ${major:-unknown} (Debian: apt-get install openjdk-17-jre-headless)"
}

fetch() {
  [[ -e $lib/.complete ]] && return
  command -v mvn >/dev/null || fail "Maven is missing; install it (Debian: apt-get install maven)"
  echo "fetching Apache Kafka $version by Maven" >&2
  mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$lib" >&2 ||
    fail "Maven could not fetch the jars of Kafka $version; see its message above"
  touch "$lib/.complete"
}

certify() { # one certificate for all nodes; it is its own authority
  [[ -e $certificates/ca.pem ]] && return
  mkdir -p "$certificates"
  rm -f "$certificates/keystore.p12"
  keytool -genkeypair -alias kafka -keyalg EC -groupname secp256r1 -validity 3650 -dname CN=kafka -ext san=ip:127.0.0.1,dns:localhost \
    -storetype PKCS12 -keystore "$certificates/keystore.p12" -storepass "$password" 2>/dev/null
  keytool -exportcert -rfc -alias kafka -keystore "$certificates/keystore.p12" -storepass "$password" >"$certificates/ca.pem" 2>/dev/null
}

configure() { # node $1
  local run p listeners advertised protocols inter=PLAINTEXT voters='' n=0 port_of_proxy other
  run=$(folder "$1") p=$(port "$1")
  mkdir -p "$run"
  listeners=PLAINTEXT://127.0.0.1:$p,CONTROLLER://127.0.0.1:$(controller "$1")
  advertised=PLAINTEXT://127.0.0.1:$p
  protocols=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
  for port_of_proxy in ${LAUDSPEAKER_KAFKA_ADVERTISED:-}; do
    n=$((n + 1))
    listeners+=,PROXIED$n://127.0.0.1:$(($(controller "$1") + n))
    advertised+=,PROXIED$n://127.0.0.1:$port_of_proxy
    protocols+=,PROXIED$n:PLAINTEXT
  done
  if ((nodes > 1)); then
    inter=BROKERS
    listeners+=,BROKERS://127.0.0.1:$((p + 2))
    advertised+=,BROKERS://127.0.0.1:$((p + 2 + 2 * ${LAUDSPEAKER_KAFKA_CUT:-0}))
    protocols+=,BROKERS:PLAINTEXT
  fi
  if ((${LAUDSPEAKER_KAFKA_TLS:-0})); then
    listeners+=,TLS://127.0.0.1:$((p + 3))
    advertised+=,TLS://127.0.0.1:$((p + 3))
    protocols+=,TLS:SSL
  fi
  for ((other = 1; other <= nodes; other++)); do
    if ((${LAUDSPEAKER_KAFKA_CUT:-0} && other != $1)); then n=$((p + 4 + other)); else n=$(controller "$other"); fi
    voters+=${voters:+,}$other@127.0.0.1:$n
  done
  cat >"$run/server.properties" <<-END
	process.roles=broker,controller
	node.id=$1
	controller.quorum.voters=$voters
	listeners=$listeners
	advertised.listeners=$advertised
	inter.broker.listener.name=$inter
	controller.listener.names=CONTROLLER
	listener.security.protocol.map=$protocols
	log.dirs=$run/data
	auto.create.topics.enable=false
	offsets.topic.replication.factor=$((nodes < 3 ? nodes : 3))
	offsets.topic.num.partitions=8
	transaction.state.log.replication.factor=$((nodes < 3 ? nodes : 3))
	transaction.state.log.min.isr=$((nodes < 3 ? 1 : 2))
	transaction.state.log.num.partitions=4
	default.replication.factor=$((nodes < 3 ? nodes : 3))
	min.insync.replicas=$((nodes < 3 ? 1 : 2))
	# the first join of a group does not wait for others
	group.initial.rebalance.delay.ms=0
	# a broker that was killed is let in again after this time; others lead its partitions after it
	broker.session.timeout.ms=${LAUDSPEAKER_KAFKA_SESSION:-$((nodes == 1 ? 30000 : 6000))}
	broker.heartbeat.interval.ms=500
	# an election of leaders is asked for
	auto.leader.rebalance.enable=false
	END
  if ((${LAUDSPEAKER_KAFKA_TLS:-0})); then
    cat >>"$run/server.properties" <<-END
	ssl.keystore.type=PKCS12
	ssl.keystore.location=$certificates/keystore.p12
	ssl.keystore.password=$password
	END
  fi
  [[ -e $run/data/meta.properties ]] || kafka kafka.tools.StorageTool format -t "$cluster" -c "$run/server.properties" >"$run/format.log" 2>&1 ||
    fail "the data folder could not be formatted: see $run/format.log"
}

cluster_id() { # what the first node that was formatted says, else a new one: 16 bytes in base64 that do not look like an option
  local id i
  for ((i = 1; i <= nodes; i++)); do
    id=$(sed -n 's/^cluster.id=//p' "$(folder $i)/data/meta.properties" 2>/dev/null) && [[ -n $id ]] && echo "$id" && return
  done
  until [[ ${id:--} != -* ]]; do id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d =); done
  echo "$id"
}

# Several nodes share a machine with what they are there to test: small heaps, and a compiler that is content early.
if ((nodes == 1)); then memory=(-Xmx1g); else memory=(-Xms160m -Xmx320m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MaxDirectMemorySize=64m); fi
kafka() { java "${memory[@]}" -Dlog4j2.configurationFile="$here/kafka/log4j2.xml" -cp "$lib/*" "$@"; }

launch() { # node $1
  local run
  run=$(folder "$1")
  ! answers "$1" || fail "port $(port "$1") is taken by something else; set LAUDSPEAKER_KAFKA_PORT to a free one"
  configure "$1"
  # exec, so that the pid is Java's own; a session of its own, so that Ctrl-C in this terminal does not reach it; none of the
  # caller's files, such as a lock that would be held for as long as the node runs
  (cd "$run" && for fd in {3..20}; do eval "exec $fd>&-"; done && exec $(command -v setsid || echo nohup) java "${memory[@]}" -Dlog4j2.configurationFile="$here/kafka/log4j2.xml" -cp "$lib/*" \
    kafka.Kafka "$run/server.properties" >"$run/server.log" 2>&1 </dev/null) &
  echo $! >"$run/pid"
}

await() { # node $1
  local run
  run=$(folder "$1")
  for _ in $(seq 600); do
    answers "$1" && return
    # by its id alone: on a busy machine the child is not Java yet
    kill -0 "$(<"$run/pid")" 2>/dev/null || { tail -n 20 "$run/server.log" >&2; fail "Kafka ended at its start: see $run/server.log"; }
    sleep 0.2
  done
  fail "Kafka does not answer on port $(port "$1") after two minutes: see $run/server.log"
}

start() {
  local i cluster launched=() all=''
  need_java
  fetch
  if ((${LAUDSPEAKER_KAFKA_TLS:-0})); then certify; fi
  cluster=$(cluster_id)
  for i in $which; do
    pid "$i" >/dev/null && continue
    launch "$i" & # formatting takes a second, and starting some
    launched+=($!)
  done
  for i in "${launched[@]+"${launched[@]}"}"; do wait "$i" || exit 1; done
  for i in $which; do await "$i"; done
  for ((i = 1; i <= nodes; i++)); do all+=${all:+,}127.0.0.1:$(port $i); done
  echo "LAUDSPEAKER_TEST_BROKERS=$all"
}

stop() {
  local i p running=''
  for i in $which; do
    p=$(pid "$i") || continue
    running+=" $i"
    kill "$p"
    kill -CONT "$p" 2>/dev/null || true # it may have ended
  done
  [[ -n $running ]] || { echo "not running"; return; }
  for _ in $(seq 150); do
    for i in $running; do
      pid "$i" >/dev/null || { rm -f "$(folder "$i")/pid"; running=${running/ $i/}; }
    done
    [[ -n $running ]] || { echo "stopped"; return; }
    sleep 0.2
  done
  for i in $running; do
    kill -9 "$(pid "$i")"
    rm -f "$(folder "$i")/pid"
  done
  echo "did not stop within 30 s: killed"
}

signal() { # $1 to all that run
  local i p
  for i in $which; do
    p=$(pid "$i") || { echo "not running: $i"; continue; }
    kill "-$1" "$p"
  done
}

wipe() {
  local i
  for i in $which; do
    ! pid "$i" >/dev/null || fail "node $i runs: stop it first"
    rm -rf "$(folder "$i")/data"
  done
}

status() {
  local i p
  for i in $which; do
    p=$(pid "$i") && answers "$i" || { echo "not running"; return 1; }
    echo "Apache Kafka $version runs on 127.0.0.1:$(port "$i"), pid $p, log $(folder "$i")/server.log"
  done
}

which=${2:-$(seq "$nodes")}
case ${1:-} in
start | stop | status | wipe) "$1" ;;
kill) signal KILL ;;
freeze) signal STOP ;;
thaw) signal CONT ;;
*) fail "use: kafka.sh start|stop|kill|freeze|thaw|wipe|status [node]" ;;
esac
