package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"coder-chats-mcp/client"
	"coder-chats-mcp/server"
	"coder-chats-mcp/simulator"
	"coder-chats-mcp/tools"
)

// settings are what flags and environment say.
type settings struct {
	url, token     string
	simulate       string
	selection      tools.Selection
	allowDirs      []string
	maxWait        time.Duration
	maxOutputBytes int
	maxChats       int
	claudeChannel  bool
	logFile        string
	logLevel       string
	slow           time.Duration
}

func (s *settings) addFlags(f *pflag.FlagSet) {
	f.StringVar(&s.url, "url", "", "address of the Coder deployment (environment CODER_URL)")
	f.StringVar(&s.token, "token", "", "session or API token (environment CODER_SESSION_TOKEN, which other users of the machine cannot see)")
	f.StringVar(&s.simulate, "simulate", "", "work with the built-in simulator instead of a deployment, of the generation 2026-05, 2026-08 or 2.38")
	f.Lookup("simulate").NoOptDefVal = string(simulator.V238)
	f.StringSliceVar(&s.selection.Toolsets, "toolsets", nil, "offer only these toolsets: "+joinToolsets()+", or all")
	f.StringSliceVar(&s.selection.Tools, "tools", nil, "offer these tools, beside those of --toolsets if that is given")
	f.StringSliceVar(&s.selection.Exclude, "exclude-tools", nil, "never offer these tools")
	f.BoolVar(&s.selection.ReadOnly, "read-only", false, "offer only tools that change nothing")
	f.StringSliceVar(&s.allowDirs, "allow-dir", nil, "folder where upload_chat_file may read and get_chat_file may write, beside the client's roots; may be repeated")
	f.DurationVar(&s.maxWait, "max-wait", tools.DefaultMaxWait, "the longest that one call may wait")
	f.IntVar(&s.maxOutputBytes, "max-output-bytes", tools.DefaultMaxOutputBytes, "the most that one result may have; what is cut is said, with the way to the rest")
	f.IntVar(&s.maxChats, "max-chats", 0, "how many chats one session may create; 0 for any number")
	f.BoolVar(&s.claudeChannel, "claude-channel", false, "wake Claude Code when a chat that the session created or awaits settles, asks or fails (stdio)")
	f.StringVar(&s.logFile, "log-file", "", "append the log to this file instead of standard error")
	f.DurationVar(&s.slow, "slow-call", 10*time.Second, "log calls that take longer, beside the time that they were asked to wait; 0 for none")
	f.StringVar(&s.logLevel, "log-level", "warn", "least level that is logged: debug, info, warn or error")
}

func joinToolsets() string {
	var names []string
	for _, t := range tools.Toolsets() {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

// environmentName is the variable of a flag.
func environmentName(flag string) string {
	switch flag {
	case "url":
		return "CODER_URL"
	case "token":
		return "CODER_SESSION_TOKEN"
	}
	return "CODER_CHATS_MCP_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnvironment sets the flags that were not given from their variables.
func fromEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var problems []error
	flags.VisitAll(func(f *pflag.Flag) {
		value, set := lookup(environmentName(f.Name))
		if f.Changed || !set || value == "" {
			return
		}
		if on, err := strconv.ParseBool(value); err == nil && f.NoOptDefVal != "" && f.Value.Type() != "bool" {
			if !on {
				return
			}
			value = f.NoOptDefVal // as the flag without a value
		}
		if err := flags.Set(f.Name, value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", environmentName(f.Name), err))
		}
	})
	return errors.Join(problems...)
}

// logger writes to standard error or the log file; close it at the end.
func (s *settings) logger(stderr io.Writer) (*slog.Logger, func(), error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		return nil, nil, fmt.Errorf("--log-level %q: use debug, info, warn or error", s.logLevel)
	}
	out, done := stderr, func() {}
	if s.logFile != "" {
		f, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("--log-file: %w", err)
		}
		out, done = f, func() { _ = f.Close() }
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})), done, nil
}

// options are the server's, without the caller.
func (s *settings) options(logger *slog.Logger) (server.Options, error) {
	offered, err := tools.Select(s.selection)
	if err != nil {
		return server.Options{}, err
	}
	if s.maxWait <= 0 || s.maxOutputBytes < 1000 || s.maxChats < 0 {
		return server.Options{}, errors.New("--max-wait must be above 0, --max-output-bytes at least 1000, --max-chats not negative")
	}
	return server.Options{
		Version: version(), Tools: offered, ClaudeChannel: s.claudeChannel, Logger: logger,
		Config: tools.Config{
			MaxWait: s.maxWait, MaxOutputBytes: s.maxOutputBytes, MaxChats: s.maxChats, AllowDirs: s.allowDirs, Local: true,
		},
	}, nil
}

// checkFolders finds the allowed folders that are none: a misspelt one would otherwise be told of only as a file that is not there.
func (s *settings) checkFolders() error {
	for _, dir := range s.allowDirs {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = errors.New("it is no folder")
		}
		if err != nil {
			return fmt.Errorf("--allow-dir %q cannot be used: %w", dir, err)
		}
	}
	return nil
}

// errNoCredentials is what every tool call says when nothing is configured.
var errNoCredentials = errors.New("no Coder deployment is configured: set CODER_URL and CODER_SESSION_TOKEN (or run `coder login`) and restart this server, or start it with --simulate to try it without one")

// connect finds the caller: the simulator's first user, or whoever the credentials are of. close ends the simulator.
func (s *settings) connect(o *server.Options, logger *slog.Logger) (close func(), err error) {
	if s.simulate != "" {
		sim, err := s.startSimulated()
		if err != nil {
			return nil, err
		}
		o.Client, err = client.New(sim.url, sim.token, client.Options{Logger: logger})
		return sim.close, err
	}
	c, err := findCredentials(s.url, s.token)
	if err != nil {
		o.Unusable = err
		return func() {}, nil
	}
	o.Client, err = client.New(c.url, c.token, client.Options{UserAgent: server.Name + "/" + version(), Logger: logger, Wrap: o.Telemetry.Transport})
	if err != nil {
		o.Unusable = err
	}
	return func() {}, nil
}

// simulated is a simulator that runs for this process.
type simulated struct {
	url, token string
	close      func()
}

func (s *settings) startSimulated() (simulated, error) {
	generation, err := simulator.ParseGeneration(s.simulate)
	if err != nil {
		return simulated{}, err
	}
	sim, err := startSimulator(generation)
	if err != nil {
		return simulated{}, err
	}
	return simulated{url: sim.URL, token: sim.Users()[0].Token, close: sim.Close}, nil
}
