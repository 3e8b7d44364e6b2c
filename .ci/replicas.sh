#!/usr/bin/env bash
# Several replicas of the HTTP server: sessions in Redis, a balancer that knows nothing of them, and an SDK that is not
# ours as the client. Everything is on loopback and ends with the tests.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v redis-server >/dev/null || ! command -v haproxy >/dev/null; then
  apt-get update -qq
  # The packages' own services are not wanted: the tests start what they need.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server haproxy >/dev/null
fi
(cd replicas && npm ci --silent)
export REQUIRE_REDIS=1 REQUIRE_SDK=1
go test -race -count=1 -cover -timeout 100s ./redisstore
go test -race -count=1 -timeout 240s ./replicas
