#!/usr/bin/env bash
# A real Apache Kafka for tests: one KRaft node on loopback, its jars fetched by Maven.
#
#   scripts/kafka.sh start     fetches what is missing, starts it, waits until it answers, prints the variable for tests
#   scripts/kafka.sh stop      stops it; what it holds stays in .kafka/<port>
#   scripts/kafka.sh status    exit code 0 when it runs
#
# LAUDSPEAKER_KAFKA_PORT (19092) and LAUDSPEAKER_KAFKA_CONTROLLER_PORT (the next one) place it; each port has a folder of
# its own, so that several can run side by side. LAUDSPEAKER_KAFKA_ADVERTISED="20001 20002" adds a listener for each of
# these ports, on the ports after the controller's: it tells its clients to come to that port. A proxy that listens there
# and leads to the listener is then on the way of all that these clients say. kafka/pom.xml pins the version.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=$(dirname "$here")/.kafka
port=${LAUDSPEAKER_KAFKA_PORT:-19092}
controller=${LAUDSPEAKER_KAFKA_CONTROLLER_PORT:-$((port + 1))}
version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$here/kafka/pom.xml")
lib=$home/lib-$version
run=$home/$port

fail() { echo "kafka.sh: $*" >&2; exit 1; }
command -v ps >/dev/null || fail "ps is missing; install it (Debian: apt-get install procps)"

pid() { # of our broker, if it runs: a stale pid file may name somebody else's process
  local p
  p=$(cat "$run/pid" 2>/dev/null) && [[ -n $p ]] && ps -o command= -p "$p" 2>/dev/null | grep -qF "$run/server.properties" && echo "$p"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

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

configure() {
  mkdir -p "$run"
  local listeners advertised protocols n=0 port_of_proxy
  listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
  advertised=PLAINTEXT://127.0.0.1:$port
  protocols=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
  for port_of_proxy in ${LAUDSPEAKER_KAFKA_ADVERTISED:-}; do
    n=$((n + 1))
    listeners+=,PROXIED$n://127.0.0.1:$((controller + n))
    advertised+=,PROXIED$n://127.0.0.1:$port_of_proxy
    protocols+=,PROXIED$n:PLAINTEXT
  done
  cat >"$run/server.properties" <<-EOF
	process.roles=broker,controller
	node.id=1
	controller.quorum.voters=1@127.0.0.1:$controller
	listeners=$listeners
	advertised.listeners=$advertised
	inter.broker.listener.name=PLAINTEXT
	controller.listener.names=CONTROLLER
	listener.security.protocol.map=$protocols
	log.dirs=$run/data
	auto.create.topics.enable=false
	offsets.topic.replication.factor=1
	offsets.topic.num.partitions=8
	transaction.state.log.replication.factor=1
	transaction.state.log.min.isr=1
	transaction.state.log.num.partitions=4
	# the first join of a group does not wait for others
	group.initial.rebalance.delay.ms=0
	# a broker that was killed is let in again after this time
	broker.session.timeout.ms=3000
	broker.heartbeat.interval.ms=500
	EOF
  [[ -e $run/data/meta.properties ]] && return
  local id
  id=$(kafka kafka.tools.StorageTool random-uuid 2>/dev/null | tail -n 1) # the last line: its log goes to standard output too
  kafka kafka.tools.StorageTool format -t "$id" -c "$run/server.properties" >"$run/format.log" 2>&1 ||
    fail "the data folder could not be formatted: see $run/format.log"
}

kafka() { java -Xmx1g -Dlog4j2.configurationFile="$here/kafka/log4j2.xml" -cp "$lib/*" "$@"; }

start() {
  if ! pid >/dev/null; then
    need_java
    fetch
    ! answers || fail "port $port is taken by something else; set LAUDSPEAKER_KAFKA_PORT to a free one"
    configure
    # exec, so that the pid is Java's own; a session of its own, so that Ctrl-C in this terminal does not reach it
    (cd "$run" && exec $(command -v setsid || echo nohup) java -Xmx1g -Dlog4j2.configurationFile="$here/kafka/log4j2.xml" -cp "$lib/*" \
      kafka.Kafka "$run/server.properties" >"$run/server.log" 2>&1 </dev/null) &
    echo $! >"$run/pid"
  fi
  for _ in $(seq 300); do
    if answers; then
      echo "LAUDSPEAKER_TEST_BROKERS=127.0.0.1:$port"
      return
    fi
    # by its id alone: on a busy machine the child is not Java yet
    kill -0 "$(<"$run/pid")" 2>/dev/null || { tail -n 20 "$run/server.log" >&2; fail "Kafka ended at its start: see $run/server.log"; }
    sleep 0.2
  done
  fail "Kafka does not answer on port $port after a minute: see $run/server.log"
}

stop() {
  local p
  p=$(pid) || { echo "not running"; return; }
  kill "$p"
  for _ in $(seq 150); do
    pid >/dev/null || { rm -f "$run/pid"; echo "stopped"; return; }
    sleep 0.2
  done
  kill -9 "$p"
  rm -f "$run/pid"
  echo "did not stop within 30 s: killed"
}

status() {
  local p
  p=$(pid) && answers || { echo "not running"; return 1; }
  echo "Apache Kafka $version runs on 127.0.0.1:$port, pid $p, log $run/server.log"
}

case ${1:-} in
start | stop | status) "$1" ;;
*) fail "use: kafka.sh start|stop|status" ;;
esac
