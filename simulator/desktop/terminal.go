package desktop

import "strings"

const (
	columns = 80
	rows    = 24
	prompt  = "coder@workspace:~$ "
)

// terminal is a shell that knows a handful of commands.
type terminal struct {
	lines []string // what has scrolled by, at most rows of it
	input []rune   // the command being typed
}

// visible is what fits on the screen, wrapped, the line being typed last.
func (t *terminal) visible() []string {
	all := append(t.lines[:len(t.lines):len(t.lines)], wrap(prompt+string(t.input))...)
	return all[max(0, len(all)-rows):]
}

func (t *terminal) put(r rune) {
	if len(t.input) < columns*(rows-2) {
		t.input = append(t.input, r)
	}
}

func (t *terminal) erase() {
	t.input = t.input[:max(0, len(t.input)-1)]
}

// control does what a letter does together with the control key.
func (t *terminal) control(r rune) {
	switch r {
	case 'c', 'C':
		t.print(prompt + string(t.input) + "^C")
		t.input = nil
	case 'u', 'U':
		t.input = nil
	case 'l', 'L':
		t.lines = nil
	}
}

func (t *terminal) enter() {
	command := string(t.input)
	t.input = nil
	t.print(prompt + command)
	words := strings.Fields(command)
	if len(words) == 0 {
		return
	}
	switch words[0] {
	case "echo":
		t.print(strings.NewReplacer(`"`, "", "'", "").Replace(strings.Join(words[1:], " ")))
	case "pwd":
		t.print("/home/coder")
	case "whoami":
		t.print("coder")
	case "clear":
		t.lines = nil
	default:
		t.print("sh: " + words[0] + ": not found")
	}
}

func (t *terminal) print(line string) {
	t.lines = append(t.lines, wrap(line)...)
	t.lines = t.lines[max(0, len(t.lines)-rows):]
}

// wrap breaks a line where the terminal's width ends.
func wrap(line string) []string {
	var out []string
	r := []rune(line)
	for len(r) > columns {
		out, r = append(out, string(r[:columns])), r[columns:]
	}
	return append(out, string(r))
}
