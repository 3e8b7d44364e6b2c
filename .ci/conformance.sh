#!/usr/bin/env bash
# Tests that others wrote: the official conformance suite, against the fixture server (conformance/fixture) and against
# the real one with its simulator, and the inspector. The lock file brings their exact versions and the Node they want.
# Everything listens on loopback; two to three minutes on two idle cores.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
pids=()
finish() {
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap finish EXIT

step() { printf '\n-- %s\n' "$*"; }

# await_port PORT PID
await_port() {
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work"/*.server
  echo "nothing listens on port $1"
  exit 1
}

free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }

# suite NAME stable|next ARGUMENTS...: runs the suite and prints its counts, or all that it said if it is not content.
# A scenario that does not exist for a protocol passes for the suite, not here.
suite() {
  local log="$work/$1.log" version=$2
  if node "conformance/node_modules/conformance-$version/dist/index.js" server "${@:3}" >"$log" 2>&1 && ! grep -q '^SKIPPED' "$log"; then
    printf '%-50s %s\n' "$1" "$(sed -nE 's/^(Total|Passed): //p; s/^Not scored .*: (.*)\. These.*/ (not scored: \1)/p; s/^  ~ (.*)/ ~\1/p' "$log" | tr -d '\n')"
    return
  fi
  cat "$log"
  echo "$1: failed"
  return 1
}
export work NODE_COMPILE_CACHE="$work/compiled"
export -f suite

step 'npm packages, as locked'
if ! command -v npm >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm >/dev/null
fi
# The system's Node only has to run npm.
(cd conformance && npm ci --ignore-scripts --loglevel=error)
export PATH="$PWD/conformance/node_modules/.bin:$PATH"
node --version

step 'The servers'
go vet -tags conformance ./conformance/fixture
CGO_ENABLED=0 go build -trimpath -tags conformance -o "$work/fixture" ./conformance/fixture
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$work/coder-chats-mcp" . # as .ci/run builds it, so that it is built once
fixture=$(free_port)
"$work/fixture" -listen "127.0.0.1:$fixture" >"$work/fixture.server" 2>&1 &
pids+=($!)
await_port "$fixture" $!
# The suite cannot send a token: one is shared here, and callers of the inspector bring their own.
shared=$(free_port)
"$work/coder-chats-mcp" http --simulate --shared-token --rate 0 --drain 1s --listen "127.0.0.1:$shared" >"$work/shared.server" 2>&1 &
pids+=($!)
await_port "$shared" $!
gateway=$(free_port)
"$work/coder-chats-mcp" http --simulate --rate 0 --drain 1s --listen "127.0.0.1:$gateway" >"$work/gateway.server" 2>&1 &
pids+=($!)
await_port "$gateway" $!

fixtures=(--url "http://127.0.0.1:$fixture/mcp")
strict=(--expected-failures conformance/expected-failures.yaml)

step 'The suite, whole, on our transport'
suite 0.1.16-active stable "${fixtures[@]}"
suite 0.2-requirements-2025-11-25 next "${fixtures[@]}" --requirements 2025-11-25
suite 0.2-requirements-2026-07-28 next "${fixtures[@]}" --requirements 2026-07-28
suite 0.2-all-with-what-is-never-scored next "${fixtures[@]}" --suite all "${strict[@]}"

step 'Progress and logging, thirty times each'
# repeat NAME ARGUMENTS...
repeat() {
  seq 30 | xargs -P 2 -I{} bash -c 'suite "$@"' - "$1-{}" "${@:2}" >"$work/$1.repeated" || { cat "$work/$1.repeated"; exit 1; }
  echo "$1: $(wc -l <"$work/$1.repeated") of 30"
}
repeat 0.1.16-progress stable "${fixtures[@]}" --scenario tools-call-with-progress
repeat 0.1.16-logging stable "${fixtures[@]}" --scenario tools-call-with-logging
repeat 0.2-progress-2026-07-28 next "${fixtures[@]}" "${strict[@]}" --spec-version 2026-07-28 --scenario tools-call-with-progress

step 'What needs no fixtures, on the real server'
# real VERSION PROTOCOL SCENARIO...; PROTOCOL - is the suite's own
real() {
  local options=(--url "http://127.0.0.1:$shared/mcp")
  [ "$2" = - ] || options+=(--spec-version "$2" --expected-failures conformance/expected-failures-binary.yaml)
  printf '%s\n' "${@:3}" | xargs -P 2 -I{} bash -c 'suite "$@"' - "$1 $2 {}" "$1" "${options[@]}" --scenario {}
}
everywhere=(completion-complete tools-list resources-list prompts-list server-sse-multiple-streams dns-rebinding-protection)
real stable - server-initialize logging-set-level ping "${everywhere[@]}"
real next 2025-11-25 server-initialize server-session-lifecycle logging-set-level ping resources-subscribe resources-unsubscribe "${everywhere[@]}"
real next 2026-07-28 server-stateless caching http-header-validation sep-2164-resource-not-found "${everywhere[@]}"

step 'The inspector: tools/list, strict about portable schemas'
# inspect NAME ARGUMENTS...
inspect() {
  local out="$work/inspected"
  # Its home is where it keeps a catalogue of servers.
  if ! HOME="$work" node conformance/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js --cli "${@:2}" \
    --method tools/list --strict >"$out" 2>"$out.said"; then
    cat "$out.said"
    echo "inspector, $1: failed"
    exit 1
  fi
  printf '%-24s %s tools; %s\n' "$1" "$(node -e 'console.log(JSON.parse(require("fs").readFileSync(0)).tools.length)' <"$out")" "$(tail -n 1 "$out.said")"
}
for era in legacy modern; do
  inspect "stdio $era" "$work/coder-chats-mcp" --simulate --protocol-era "$era"
  inspect "HTTP $era" "http://127.0.0.1:$gateway/mcp" --transport http --header 'Authorization: Bearer simulator-user-1' --protocol-era "$era"
done

step 'Conformance: all passed'
