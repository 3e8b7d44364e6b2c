// Command coder-chats-mcp is an MCP server for Coder's Chats API: AI coding agents that run in a Coder deployment, as tools, resources and
// notifications for any MCP client.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command().ExecuteContext(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "coder-chats-mcp:", err)
		stop()
		os.Exit(1)
	}
}

// command is the whole command line. Started without a command it serves stdio, which is what MCP clients do.
func command() *cobra.Command {
	s := &settings{}
	root := &cobra.Command{
		Use:   "coder-chats-mcp",
		Short: "MCP server for Coder's Chats API",
		Long: `coder-chats-mcp lets MCP clients (Claude Code, Cursor, VS Code, Codex, orchestrators) work with
the AI coding agents of a Coder deployment: hand over tasks, follow and await them, read their
answers and diffs, look at their desktops.

Without a command it serves MCP over standard input and output (see stdio).

CREDENTIALS
  CODER_URL and CODER_SESSION_TOKEN, as Coder's own command line has them, or the flags --url and
  --token, or else what "coder login" left behind. A stored session is used only for the deployment
  that it is of. The token goes to that deployment alone and is never logged.

ENVIRONMENT
  Every flag has an environment variable: CODER_CHATS_MCP_ and its name in capitals, with _ for -
  (--max-wait is CODER_CHATS_MCP_MAX_WAIT). --url and --token have CODER_URL and
  CODER_SESSION_TOKEN. Flags win.`,
		Example: `  # see it work, without a Coder deployment
  coder-chats-mcp demo

  # check the configuration
  coder-chats-mcp doctor

  # for Claude Code
  claude mcp add coder-chats --env CODER_URL=https://coder.example.com --env CODER_SESSION_TOKEN=... -- coder-chats-mcp`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return fromEnvironment(cmd.Flags(), os.LookupEnv)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return serveStdio(cmd, s) },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetVersionTemplate("{{.Version}}\n")
	s.addFlags(root.PersistentFlags())
	root.AddCommand(stdioCommand(s), httpCommand(s), demoCommand(s), toolsCommand(s), doctorCommand(s), versionCommand())
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "version prints the version of this program, and the commit that it was built from where the build knows it.",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version()) },
	}
}

// version is the module's version, or the commit of a build from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
