package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coder-chats-mcp/redisstore"
)

func TestSharedSessionsNeedAKeyAndAnAddress(t *testing.T) {
	isolated(t)
	key := strings.Repeat("k", redisstore.MinKey)
	for want, arguments := range map[string]string{
		"needs a --session-key":  "--redis redis://127.0.0.1:1",
		"at least 32 characters": "--session-key short",
		"needs --advertise":      "--redis redis://127.0.0.1:1 --listen :8137 --behind-proxy --session-key " + key,
		"http://HOST:PORT":       "--redis redis://127.0.0.1:1 --advertise 10.0.0.7 --session-key " + key,
		"redis://[user:password": "--redis http://u:secret@127.0.0.1:1 --session-key " + key,
	} {
		_, _, err := run(t, "", strings.Fields("http --simulate "+arguments)...)
		require.ErrorContains(t, err, want, arguments)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestReplicasAreReachedWhereTheyListen(t *testing.T) {
	for want, h := range map[string]httpSettings{
		"http://127.0.0.1:8137":  {listen: "127.0.0.1:8137"},
		"https://10.0.0.7:8137":  {listen: "10.0.0.7:8137", tlsCert: "cert.pem"},
		"http://replica-1:8137":  {listen: ":8137", redis: redisSettings{advertise: "http://replica-1:8137"}},
		"http://[fd00::7]:8137":  {listen: "[fd00::7]:8137"},
		"":                       {listen: "[::]:8137"},
		"http://localhost:12345": {listen: "localhost:12345"},
	} {
		got, err := h.redis.address(&h)
		require.Equal(t, want, got)
		require.Equal(t, want == "", err != nil)
	}
}
