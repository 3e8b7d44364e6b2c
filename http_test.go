package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHTTPIsNotServedWithSettingsThatDoNotFit(t *testing.T) {
	isolated(t)
	for arguments, want := range map[string]string{
		"--listen :0":                                      "tokens would travel in the clear",
		"--listen 8137":                                    "HOST:PORT",
		"--tls-key k.pem":                                  "go together",
		"--tls-cert c.pem":                                 "go together",
		"--tls-cert c.pem --tls-key k.pem":                 "--tls-cert, --tls-key: open c.pem",
		"--oauth --behind-proxy":                           "needs --public-url",
		"--public-url mcp.example.com":                     "https://HOST",
		"--public-url https://mcp.example/?a=b":            "https://HOST",
		"--max-sessions 0":                                 "--max-sessions must be above 0",
		"--max-sessions-per-caller -1":                     "--max-sessions-per-caller not negative",
		"--rate -1":                                        "--rate must not be negative",
		"--idle-timeout 0s":                                "--idle-timeout must be at least 1s",
		"--drain -1s":                                      "--drain not negative",
		"--shared-token --listen 0.0.0.0:0 --behind-proxy": "--allow-shared-token",
		"--shared-token --behind-proxy":                    "--allow-shared-token",
	} {
		_, _, err := run(t, "", strings.Fields("http --simulate --listen 127.0.0.1:0 "+arguments)...)
		require.ErrorContains(t, err, want, arguments)
	}
}

// journal is what a command says, for a test to read meanwhile.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

var address = regexp.MustCompile(`serving MCP on (\S+)/mcp\n`)

// served runs the http command until the test ends or calls stop, and gives the address that it says.
func served(t *testing.T, arguments ...string) (where string, log *journal, stop func() error) {
	t.Helper()
	isolated(t)
	ctx, cancel := context.WithCancel(t.Context())
	log = &journal{}
	cmd := command()
	cmd.SetArgs(append([]string{"http", "--simulate", "--listen", "127.0.0.1:0", "--drain", "0s"}, arguments...))
	cmd.SetErr(log)
	over := make(chan error, 1)
	go func() { over <- cmd.ExecuteContext(ctx) }()
	require.Eventually(t, func() bool { return address.MatchString(log.String()) }, 10*time.Second, time.Millisecond)
	stop = func() error {
		cancel()
		err := <-over
		over <- err
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return address.FindStringSubmatch(log.String())[1], log, stop
}

func TestItSaysWhereItListens(t *testing.T) {
	address, _, stop := served(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	require.NotEqual(t, "0", port)
	response, err := http.Get("http://" + address + "/healthz")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, stop())

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, said, err := run(t, "", "http", "--simulate", "--listen", taken.Addr().String())
	require.ErrorContains(t, err, "--listen")
	require.NotContains(t, said, "serving")
}

func TestItServesWithACertificate(t *testing.T) {
	cert, key := certificate(t)
	address, log, _ := served(t, "--tls-cert", cert, "--tls-key", key)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	response, err := client.Get("https://" + address + "/healthz")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 2, response.ProtoMajor)

	plain, err := http.Get("http://" + address + "/healthz")
	require.NoError(t, err)
	require.NoError(t, plain.Body.Close())
	require.Equal(t, http.StatusBadRequest, plain.StatusCode)
	http.DefaultClient.CloseIdleConnections()
	complaint := regexp.MustCompile(`level=WARN msg="http: TLS handshake error`) // of net/http, in our log
	require.Eventually(t, func() bool { return complaint.MatchString(log.String()) }, 10*time.Second, time.Millisecond)
}

func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	require.NoError(t, err)
	folder := t.TempDir()
	for name, block := range map[string]*pem.Block{"c.pem": {Type: "CERTIFICATE", Bytes: public}, "k.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600))
	}
	return filepath.Join(folder, "c.pem"), filepath.Join(folder, "k.pem")
}

// TestAClientThatWithholdsItsBodyDoesNotHoldUpTheEnd: whatever it asked for.
func TestAClientThatWithholdsItsBodyDoesNotHoldUpTheEnd(t *testing.T) {
	address, _, stop := served(t, "--drain", "1h")
	for _, head := range []string{"POST /mcp HTTP/1.1", "POST /nowhere HTTP/1.1", "GET /healthz HTTP/1.1", "GET /readyz HTTP/1.1", "GET /metrics HTTP/1.1"} {
		connection, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer connection.Close()
		_, err = io.WriteString(connection, head+"\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
		require.NoError(t, err)
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		require.NoError(t, err)
		require.True(t, response.Close, head)
	}
	require.NoError(t, stop())
}
