package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"coder-chats-mcp/client"
	"coder-chats-mcp/server"
	"coder-chats-mcp/view"
)

func doctorCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the configuration, and say what to mend",
		Long: `doctor checks the address, the token, the server's version, where it has the Chats API, whether
this account may use it, and the models. Each line says what was found; a failed check says what
to do, and the exit status is 1.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, closeLog, err := s.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer closeLog()
			options, err := s.options(logger)
			if err != nil {
				return err
			}
			disconnect, err := s.connect(&options, logger)
			if err != nil {
				return err
			}
			defer disconnect()
			return diagnose(cmd.Context(), cmd.OutOrStdout(), options)
		},
	}
}

// errUnhealthy is the exit status of a doctor who found something; the lines before say what.
var errUnhealthy = errors.New("the configuration does not work")

func diagnose(ctx context.Context, out io.Writer, o server.Options) error {
	if o.Unusable != nil {
		fmt.Fprintf(out, "FAIL credentials  %s\n", o.Unusable)
		return errUnhealthy
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c := o.Client
	fmt.Fprintf(out, "ok   address      %s\n", c.Host().URL())
	healthy := true
	for _, check := range []struct {
		name string
		run  func() (string, error)
		// needed: without it the checks that follow say nothing new.
		needed bool
	}{
		{"server", func() (string, error) {
			info, err := c.BuildInfo(ctx)
			if err != nil {
				return "", err
			}
			return "Coder " + info.Version, nil
		}, true},
		{"token", func() (string, error) {
			me, err := c.Me(ctx)
			if err != nil {
				return "", err
			}
			return "of user " + me.Username, nil
		}, true},
		{"chats API", func() (string, error) {
			g, err := c.Generation(ctx)
			if err != nil {
				return "", err
			}
			return g.Prefix + "/chats", nil
		}, true},
		{"chats", func() (string, error) {
			chats, err := c.ListChats(ctx, client.ListChatsRequest{Limit: 1})
			if err != nil {
				return "", err
			}
			return map[bool]string{true: "none yet", false: "readable"}[len(chats) == 0], nil
		}, false},
		{"models", func() (string, error) {
			models, err := view.ListModels(ctx, c)
			if err != nil {
				return "", err
			}
			if len(models.Models) == 0 {
				return "", errors.New("no model is configured: an administrator adds a provider and a model in the deployment's settings")
			}
			return fmt.Sprintf("%d to choose from", len(models.Models)), nil
		}, false},
	} {
		found, err := check.run()
		if err == nil {
			fmt.Fprintf(out, "ok   %-12s %s\n", check.name, found)
			continue
		}
		healthy = false
		fmt.Fprintf(out, "FAIL %-12s %s\n", check.name, err)
		if check.needed {
			break
		}
	}
	fmt.Fprintf(out, "ok   tools        %d offered\n", len(o.Tools))
	if !healthy {
		return errUnhealthy
	}
	return nil
}
