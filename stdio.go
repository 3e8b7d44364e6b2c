package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"coder-chats-mcp/server"
	"coder-chats-mcp/telemetry"
)

func stdioCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "stdio",
		Short: "Serve MCP over standard input and output (the default)",
		Long: `stdio serves one MCP client: a JSON message per line on standard input, the same on standard
output, and nothing else there. It ends with its input: calls that still run get two seconds,
their answers are written, and the exit status is 0.

Without credentials it serves all the same: it lists its tools, and every call says what to set.`,
		Example: `  coder-chats-mcp stdio --toolsets chats,messages,orchestration
  coder-chats-mcp stdio --simulate --read-only`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serveStdio(cmd, s) },
	}
}

func serveStdio(cmd *cobra.Command, s *settings) error {
	logger, closeLog, err := s.logger(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeLog()
	options, err := s.options(logger)
	if err != nil {
		return err
	}
	if err := s.checkFolders(); err != nil {
		return err
	}
	if options.Telemetry, err = s.exporting(cmd.Context(), logger); err != nil {
		return err
	}
	defer func() { _ = options.Telemetry.Shutdown(context.WithoutCancel(cmd.Context())) }()
	disconnect, err := s.connect(&options, logger)
	if err != nil {
		return err
	}
	defer disconnect()
	if options.Unusable != nil {
		logger.Warn("no tool can work", "why", options.Unusable)
	}
	srv := server.New(options)
	defer srv.Close()
	err = srv.ServeStdio(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
	if errors.Is(err, context.Canceled) {
		return nil // a signal asked for the end
	}
	return err
}

// exporting observes the server when OpenTelemetry's environment says where to. Nobody scrapes a child process of an editor.
func (s *settings) exporting(ctx context.Context, logger *slog.Logger) (*telemetry.Telemetry, error) {
	if !telemetry.Exporting() {
		return nil, nil
	}
	return telemetry.New(ctx, telemetry.Options{Service: server.Name, Version: version(), Logger: logger, Slow: s.slow})
}
