#!/usr/bin/env bash
# Holds the whole API against its own OpenAPI description: Schemathesis asks a running server (laudspeaker all, which captures)
# for everything that the description allows, and for what it forbids, with all of its checks. It comes from PyPI into
# .tools, at a pinned version; what is expected of which operation is in schemathesis.toml.
#
#   scripts/schemathesis.sh             builds bin/laudspeaker, starts it, asks it, stops it; exit code 0 when nothing failed
#   scripts/schemathesis.sh --seed 7    the same, with arguments for `schemathesis run`
#
# LAUDSPEAKER_SCHEMATHESIS_PORT (18780) and the two ports after it place the server. It needs Python 3.10 or newer with venv.
set -euo pipefail

schemathesis=4.32.5

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
port=${LAUDSPEAKER_SCHEMATHESIS_PORT:-18780}
unset LAUDSPEAKER_SCHEMATHESIS_PORT # the server, which inherits it, takes LAUDSPEAKER_* for its settings and refuses one it does not know
venv=$root/.tools/schemathesis-$schemathesis

fail() { echo "schemathesis.sh: $*" >&2; exit 1; }

if ! [[ -e $venv/.complete ]]; then
  python3 -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv is missing; install it (Debian: apt-get install python3-venv)"
  echo "fetching Schemathesis $schemathesis by pip" >&2
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$schemathesis" >&2 || fail "pip could not fetch it; see its message above"
  touch "$venv/.complete"
fi

make -s -C "$root" build
run=$(mktemp -d "${TMPDIR:-/tmp}/laudspeaker-schemathesis.XXXXXX")
"$root/bin/laudspeaker" all --data-dir "$run/data" --api-listen "127.0.0.1:$port" --admin-listen "127.0.0.1:$((port + 1))" \
  --set "kafka.embedded.listen=127.0.0.1:$((port + 2))" >"$run/out" 2>"$run/log" &
server=$!
finish() {
  kill "$server" 2>/dev/null && wait "$server" || true
  rm -rf "$run"
}
trap finish EXIT

for _ in $(seq 300); do
  ! grep -q ^Ready "$run/out" || break
  kill -0 "$server" 2>/dev/null || { tail -n 20 "$run/log" >&2; fail "the server ended at its start"; }
  sleep 0.2
done
grep -q ^Ready "$run/out" || { tail -n 20 "$run/log" >&2; fail "the server is not ready after a minute"; }

cd "$run" # it leaves a cache where it runs
"$venv/bin/schemathesis" --config-file "$root/scripts/schemathesis.toml" run "http://127.0.0.1:$port/openapi.json" \
  --checks all --max-examples 50 --request-timeout 10 --no-color "$@"
