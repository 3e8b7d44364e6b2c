package tools

import (
	"fmt"
	"slices"
	"strings"
)

// Selection says which tools are offered. The zero value offers all.
type Selection struct {
	Toolsets []string // only these toolsets; empty or "all" = every one
	Tools    []string // these tools, whatever their toolset; alone, only these
	Exclude  []string // never these
	ReadOnly bool     // only tools that change nothing, without the arguments that would
}

// Select are the tools that all the selections offer. Each narrows what the one before it allows. A name that does not exist is an error that lists those that do.
func Select(selections ...Selection) ([]*Tool, error) {
	offered := All()
	for _, s := range selections {
		s = s.trimmed()
		if err := s.check(); err != nil {
			return nil, err
		}
		offered = slices.DeleteFunc(offered, func(t *Tool) bool { return !s.offers(t) })
		for i, t := range offered {
			if s.ReadOnly {
				offered[i] = t.ReadOnly()
			}
		}
	}
	return offered, nil
}

// trimmed takes off the blanks that people write behind commas.
func (s Selection) trimmed() Selection {
	for _, names := range []*[]string{&s.Toolsets, &s.Tools, &s.Exclude} {
		*names = slices.Clone(*names)
		for i, name := range *names {
			(*names)[i] = strings.TrimSpace(name)
		}
	}
	return s
}

func (s Selection) offers(t *Tool) bool {
	switch {
	case slices.Contains(s.Exclude, t.Name), s.ReadOnly && t.Effect != Reads:
		return false
	case slices.Contains(s.Tools, t.Name):
		return true
	case len(s.Toolsets) == 0:
		return len(s.Tools) == 0
	}
	return slices.Contains(s.Toolsets, "all") || slices.Contains(s.Toolsets, string(t.Toolset))
}

func (s Selection) check() error {
	var toolsets, names []string
	for _, t := range Toolsets() {
		toolsets = append(toolsets, string(t))
	}
	for _, t := range All() {
		names = append(names, t.Name)
	}
	for _, name := range s.Toolsets {
		if name != "all" && !slices.Contains(toolsets, name) {
			return fmt.Errorf("unknown toolset %q; there are %s, all", name, strings.Join(toolsets, ", "))
		}
	}
	for _, name := range slices.Concat(s.Tools, s.Exclude) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown tool %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}
