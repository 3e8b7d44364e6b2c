package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"coder-chats-mcp/tools"
)

func toolsCommand(s *settings) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tools",
		Short: "Print the catalogue of tools",
		Long: `tools prints the tools that the given selection offers (--toolsets, --tools, --exclude-tools,
--read-only), as a table or as the JSON that a client sees.`,
		Example: `  coder-chats-mcp tools --read-only
  coder-chats-mcp tools --json | jq '.[].name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			offered, err := tools.Select(s.selection)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), offered)
			}
			printTable(cmd.OutOrStdout(), offered)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with input schemas and annotations")
	return cmd
}

func printJSON(out io.Writer, offered []*tools.Tool) error {
	catalogue := make([]any, 0, len(offered))
	for _, t := range offered {
		catalogue = append(catalogue, t.MCP())
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(catalogue)
}

func printTable(out io.Writer, offered []*tools.Tool) {
	toolset := tools.Toolset("")
	for _, t := range offered {
		if t.Toolset != toolset {
			toolset = t.Toolset
			fmt.Fprintf(out, "\n%s\n", toolset)
		}
		fmt.Fprintf(out, "  %-22s %-11s %s\n", t.Name, t.Effect, t.Description)
	}
}
