package replicas

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"coder-chats-mcp/simulator"
)

var binary string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "replicas")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(folder, "coder-chats-mcp")
	build := exec.Command("go", "build", "-o", binary, "..")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(folder)
		os.Exit(code)
	}))
}

// needs skips the test when a program is not installed, unless REQUIRE_REDIS says that it must be.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("REQUIRE_REDIS") != "" {
			require.Fail(t, program+" is not installed")
		}
		t.Skipf("needs %s: see .ci/replicas.sh", program)
	}
}

// patience bounds every wait of these tests.
const patience = 30 * time.Second

const sessionKey = "the session key that both replicas of these tests have"

// fleet is two replicas behind a balancer, with a Redis, before a simulated Coder deployment. All is on loopback.
type fleet struct {
	t        *testing.T
	sim      *simulator.Instance
	redis    *redis.Client
	replicas []*process
	flags    []string // of the replicas
	url      string   // of the balancer
}

func openFleet(t *testing.T, o simulator.Options, flags ...string) *fleet {
	t.Helper()
	needs(t, "redis-server", "haproxy", "node")
	f := &fleet{t: t, flags: flags}
	var err error
	f.sim, err = simulator.Start(o)
	require.NoError(t, err)
	t.Cleanup(f.sim.Close)

	database := address(t)
	_, port, _ := net.SplitHostPort(database)
	f.start("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	f.redis = redis.NewClient(&redis.Options{Addr: database})
	t.Cleanup(func() { _ = f.redis.Close() })
	f.eventually(func() bool { return f.redis.Ping(t.Context()).Err() == nil })

	for range 2 {
		f.replicas = append(f.replicas, f.replica(address(t), database))
	}
	f.balance()
	return f
}

// address is a free one.
func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func (f *fleet) eventually(done func() bool) {
	f.t.Helper()
	require.Eventually(f.t, done, patience, 20*time.Millisecond)
}

// process is a program that ends with the test at the latest.
type process struct {
	*exec.Cmd
	address string
	again   func() *process
	ended   sync.Once
}

func (f *fleet) start(program string, arguments ...string) *process {
	f.t.Helper()
	p := f.prepare(program, arguments...)
	f.run(p)
	return p
}

func (f *fleet) prepare(program string, arguments ...string) *process {
	p := &process{Cmd: exec.Command(program, arguments...)}
	p.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + f.t.TempDir(), "CODER_CHATS_MCP_SESSION_KEY=" + sessionKey}
	return p
}

func (f *fleet) run(p *process) {
	f.t.Helper()
	var log bytes.Buffer
	p.Stderr = &log
	require.NoError(f.t, p.Start())
	f.t.Cleanup(func() {
		p.kill()
		if f.t.Failed() {
			f.t.Logf("%s said:\n%s", p.Path, log.String())
		}
	})
}

// kill ends it with SIGKILL.
func (p *process) kill() {
	p.ended.Do(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	})
}

// term ends it with SIGTERM; the channel tells how it ended.
func (p *process) term() (ended <-chan error) {
	over := make(chan error, 1)
	_ = p.Process.Signal(syscall.SIGTERM)
	go p.ended.Do(func() { over <- p.Wait() })
	return over
}

func (f *fleet) replica(listen, database string) *process {
	f.t.Helper()
	p := f.start(binary, append([]string{
		"http", "--url", f.sim.URL, "--listen", listen, "--redis", "redis://" + database, "--rate", "0", "--max-wait", "2m", "--log-level", "info",
	}, f.flags...)...)
	p.address = listen
	p.again = func() *process { return f.replica(listen, database) }
	f.eventually(func() bool { return f.healthy("http://" + listen) })
	return p
}

func (f *fleet) healthy(url string) bool {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	require.NoError(f.t, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// balance starts the balancer: each request goes to the next replica, whatever session it is of.
func (f *fleet) balance() {
	f.t.Helper()
	listen := address(f.t)
	var servers strings.Builder
	for n, r := range f.replicas {
		fmt.Fprintf(&servers, "    server r%d %s check inter 500ms fall 2 rise 1\n", n, r.address)
	}
	configuration := filepath.Join(f.t.TempDir(), "haproxy.cfg")
	require.NoError(f.t, os.WriteFile(configuration, []byte(`defaults
    mode http
    timeout connect 1s
    timeout client 5m
    timeout server 5m
    retries 3
    option redispatch 1
frontend mcp
    bind `+listen+`
    default_backend replicas
backend replicas
    balance roundrobin
    option httpchk GET /readyz
`+servers.String()), 0o600))
	f.start("haproxy", "-db", "-f", configuration)
	f.url = "http://" + listen
	f.eventually(func() bool { return f.healthy(f.url) })
}

// holder is the replica that has the session.
func (f *fleet) holder(session string) *process {
	f.t.Helper()
	keys, err := f.redis.Keys(f.t.Context(), "*:session:{"+session+"}").Result()
	require.NoError(f.t, err)
	require.Len(f.t, keys, 1)
	owner, err := f.redis.HGet(f.t.Context(), keys[0], "owner").Result()
	require.NoError(f.t, err)
	replicas, err := f.redis.Keys(f.t.Context(), "*:replica:{"+owner+"}").Result()
	require.NoError(f.t, err)
	require.Len(f.t, replicas, 1)
	announced, err := f.redis.Get(f.t.Context(), replicas[0]).Result()
	require.NoError(f.t, err)
	for _, r := range f.replicas {
		if strings.HasSuffix(announced, "http://"+r.address) {
			return r
		}
	}
	require.Fail(f.t, "nobody has the session", announced)
	return nil
}

// results counts the responses that Redis holds of a session.
func (f *fleet) results(session string) (count int) {
	f.t.Helper()
	for _, entry := range f.log(session) {
		if head, _, _ := strings.Cut(entry, "\n"); strings.HasSuffix(head, " 1") {
			count++
		}
	}
	return count
}

// logged are the ids of the events that Redis holds of a session, in order.
func (f *fleet) logged(session string) (ids []string) {
	f.t.Helper()
	for _, entry := range f.log(session) {
		fields := strings.Fields(strings.SplitN(entry, "\n", 2)[0])
		ids = append(ids, fields[1]+"_"+fields[0])
	}
	return ids
}

func (f *fleet) log(session string) []string {
	f.t.Helper()
	keys, err := f.redis.Keys(f.t.Context(), "*:log:{"+session+"}").Result()
	require.NoError(f.t, err)
	require.Len(f.t, keys, 1)
	entries, err := f.redis.LRange(f.t.Context(), keys[0], 0, -1).Result()
	require.NoError(f.t, err)
	return entries
}
