#!/usr/bin/env bash
# A real PostgreSQL for tests: one server on loopback, from Debian's package, in a folder of its own.
#
#   scripts/postgres.sh start     makes what is missing, starts it, waits until it answers, prints the variable for tests
#   scripts/postgres.sh stop      stops it; what it holds stays in .postgres/<port>
#   scripts/postgres.sh status    exit code 0 when it runs
#
# LAUDSPEAKER_POSTGRES_PORT (15432) places it; each port has a folder of its own, so that several can run side by side. It
# trusts whoever comes over loopback. PostgreSQL does not run as root: the user postgres, whom the package makes, runs it then.
# LAUDSPEAKER_POSTGRES_HOME is where the folders are, which that user must be able to reach.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${LAUDSPEAKER_POSTGRES_HOME:-$(dirname "$here")/.postgres}
port=${LAUDSPEAKER_POSTGRES_PORT:-15432}
run=$home/$port
data=$run/data

fail() { echo "postgres.sh: $*" >&2; exit 1; }

# The newest of those that are installed; Debian keeps them out of PATH.
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1) || true
[[ -n $bin ]] || bin=$(dirname "$(command -v postgres 2>/dev/null || true)")
[[ -x $bin/postgres && -x $bin/initdb ]] || fail "PostgreSQL is missing; install it (Debian: apt-get install postgresql)"

as_server() { # in a folder that the user can be in
  if ((EUID == 0)); then (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"); else "$@"; fi
}

runs() { as_server "$bin/pg_ctl" status -D "$data" >/dev/null 2>&1; }

answers() { "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; }

configure() {
  mkdir -p "$run"
  [[ -e $data/PG_VERSION ]] && return
  if ((EUID == 0)); then
    id postgres >/dev/null 2>&1 || fail "there is no user postgres to run it as; PostgreSQL does not run as root"
    chown postgres: "$run"
    as_server test -w "$run" || fail "the user postgres cannot reach $run; let LAUDSPEAKER_POSTGRES_HOME name a folder that all may enter"
  fi
  as_server "$bin/initdb" -D "$data" -U laudspeaker -A trust -E UTF8 --locale=C.UTF-8 >"$run/initdb.log" 2>&1 ||
    fail "the data folder could not be made: see $run/initdb.log"
  as_server tee -a "$data/postgresql.conf" >/dev/null <<-EOT
	listen_addresses = '127.0.0.1'
	port = $port
	unix_socket_directories = ''
	max_connections = 200
	shared_buffers = 256MB
	max_wal_size = 2GB
	EOT
}

start() {
  if ! runs; then
    ! answers || fail "port $port is taken by another PostgreSQL; set LAUDSPEAKER_POSTGRES_PORT to a free one"
    configure
    as_server "$bin/pg_ctl" start -w -t 60 -D "$data" -l "$run/server.log" >/dev/null ||
      { tail -n 20 "$run/server.log" >&2; fail "PostgreSQL did not start: see $run/server.log"; }
  fi
  "$bin/psql" -q -h 127.0.0.1 -p "$port" -U laudspeaker -d postgres -tAc "SELECT 1 FROM pg_database WHERE datname = 'laudspeaker'" | grep -q 1 ||
    "$bin/createdb" -h 127.0.0.1 -p "$port" -U laudspeaker laudspeaker
  echo "LAUDSPEAKER_TEST_POSTGRES=postgres://laudspeaker@127.0.0.1:$port/laudspeaker?sslmode=disable"
}

stop() {
  runs || { echo "not running"; return; }
  as_server "$bin/pg_ctl" stop -w -t 60 -m fast -D "$data" >/dev/null
  echo "stopped"
}

status() {
  runs && answers || { echo "not running"; return 1; }
  echo "$("$bin/postgres" --version) runs on 127.0.0.1:$port, pid $(as_server head -n 1 "$data/postmaster.pid"), log $run/server.log"
}

case ${1:-} in
start | stop | status) "$1" ;;
*) fail "use: postgres.sh start|stop|status" ;;
esac
