#!/usr/bin/env bash
# A server that holds every request against Twilio's own OpenAPI description: Prism, with the description that Twilio
# ships in its command line tool. Both come from npm into .tools, at pinned versions; neither is part of this tree.
#
#   scripts/prism.sh           starts it, runs the tests that ask it, stops it
#   scripts/prism.sh start     fetches what is missing, starts it, waits until it answers, prints the variable for tests
#   scripts/prism.sh stop      stops it
#   scripts/prism.sh status    exit code 0 when it runs
#
# LAUDSPEAKER_PRISM_PORT (14010) places it. It needs Node.js 20 or newer.
set -euo pipefail

prism=5.16.0
twilio=8.3.2

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
port=${LAUDSPEAKER_PRISM_PORT:-14010}
lib=$root/.tools/prism-$prism
spec=$root/.tools/twilio-openapi-$twilio.json
run=$root/.tools/prism-run-$port

fail() { echo "prism.sh: $*" >&2; exit 1; }
command -v ps >/dev/null || fail "ps is missing; install it (Debian: apt-get install procps)"

pid() { # of our server, if it runs: a stale pid file may name somebody else's process
  local p
  p=$(cat "$run/pid" 2>/dev/null) && [[ -n $p ]] && ps -o command= -p "$p" 2>/dev/null | grep -qF "$spec" && echo "$p"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

need() {
  command -v node >/dev/null && command -v npm >/dev/null || fail "Node.js and npm are missing; install them (Debian: apt-get install nodejs npm)"
}

fetch_prism() {
  [[ -e $lib/.complete ]] && return
  need
  echo "fetching Prism $prism by npm" >&2
  mkdir -p "$lib"
  npm install --prefix "$lib" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "@stoplight/prism-cli@$prism" >&2 ||
    fail "npm could not fetch Prism; see its message above"
  touch "$lib/.complete"
}

# Of the whole API only messages: Prism then starts in a second. Prism reads a repeated form field as a list only where
# the description spells out the style that OpenAPI makes the default; the description leaves it out, so it is added.
fetch_spec() {
  [[ -e $spec ]] && return
  need
  echo "fetching Twilio's OpenAPI $twilio by npm" >&2
  local dir
  dir=$(mktemp -d "$root/.tools/openapi.XXXXXX")
  (cd "$dir" && npm pack --silent --loglevel=error "@twilio/cli-core@$twilio" >/dev/null && tar -xzf ./*.tgz) ||
    { rm -rf "$dir"; fail "npm could not fetch the description; see its message above"; }
  node - "$dir/package/src/services/twilio-api/twilio_api_v2010.json" "$spec.new" <<-'EOF'
	const fs = require('fs')
	const api = JSON.parse(fs.readFileSync(process.argv[2]))
	for (const path of Object.keys(api.paths)) if (!/\/Messages\.json$/.test(path)) delete api.paths[path]
	for (const item of Object.values(api.paths)) {
	  for (const body of Object.values(item.post?.requestBody?.content ?? {})) {
	    const lists = Object.entries(body.schema.properties).filter(([, field]) => field.type === 'array')
	    body.encoding = Object.fromEntries(lists.map(([name]) => [name, { style: 'form', explode: true }]))
	  }
	}
	if (Object.keys(api.paths).length === 0) throw new Error('the description has no messages')
	fs.writeFileSync(process.argv[3], JSON.stringify(api))
	EOF
  rm -rf "$dir"
  mv "$spec.new" "$spec"
}

start() {
  if ! pid >/dev/null; then
    mkdir -p "$run"
    fetch_prism
    fetch_spec
    ! answers || fail "port $port is taken by something else; set LAUDSPEAKER_PRISM_PORT to a free one"
    # exec, so that the pid is Node's own; a session of its own, so that Ctrl-C in this terminal does not reach it
    (exec $(command -v setsid || echo nohup) node "$lib/node_modules/@stoplight/prism-cli/dist/index.js" \
      mock --host 127.0.0.1 --port "$port" "$spec" >"$run/log" 2>&1 </dev/null) &
    echo $! >"$run/pid"
  fi
  for _ in $(seq 150); do
    if answers; then
      echo "LAUDSPEAKER_TEST_TWILIO=http://127.0.0.1:$port"
      return
    fi
    pid >/dev/null || { tail -n 20 "$run/log" >&2; fail "Prism ended at its start: see $run/log"; }
    sleep 0.2
  done
  fail "Prism does not answer on port $port after half a minute: see $run/log"
}

stop() {
  local p
  p=$(pid) || { echo "not running"; return; }
  kill "$p"
  rm -f "$run/pid"
  echo "stopped"
}

status() {
  local p
  p=$(pid) && answers || { echo "not running"; return 1; }
  echo "Prism $prism with Twilio's OpenAPI $twilio runs on 127.0.0.1:$port, pid $p, log $run/log"
}

run_tests() {
  local url
  trap stop EXIT
  url=$(start)
  (cd "$root" && env "$url" go test -count=1 -run '^TestPrism' -v ./gateway/twilio)
}

case ${1:-test} in
start | stop | status) "$1" ;;
test) run_tests ;;
*) fail "use: prism.sh [start|stop|status|test]" ;;
esac
