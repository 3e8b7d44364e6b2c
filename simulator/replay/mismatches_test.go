package replay

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// mismatches is the list of what cannot match, simulator/testdata/mismatches.txt. A line is either
//
//	GENERATION/RECORDING#STEP reason        one exchange
//	GENERATION/RECORDING~SOCKET reason      one WebSocket
//	class METHOD:TEXT reason                every exchange with that method (* is any) whose path holds TEXT: outside
//	                                        the product and not sent
type mismatches struct {
	reasons map[string]string
	classes map[string]string
}

func readMismatches(path string) (*mismatches, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &mismatches{reasons: map[string]string{}, classes: map[string]string{}}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		into := m.reasons
		if rest, ok := strings.CutPrefix(line, "class "); ok {
			line, into = rest, m.classes
		}
		key, reason, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("%s:%d: no reason", path, n)
		}
		if _, twice := into[key]; twice {
			return nil, fmt.Errorf("%s:%d: %s is listed twice", path, n, key)
		}
		into[key] = strings.TrimSpace(reason)
	}
	return m, lines.Err()
}

func (m *mismatches) lists(key string) bool {
	_, ok := m.reasons[key]
	return ok
}

// of is how many exchanges and WebSockets of a recording are listed.
func (m *mismatches) of(recording string) (n int) {
	for key := range m.reasons {
		if rest, ok := strings.CutPrefix(key, recording); ok && strings.ContainsAny(rest[:1], "#~") {
			n++
		}
	}
	return n
}

func (m *mismatches) excludes(r *Request) bool {
	for class := range m.classes {
		method, text, _ := strings.Cut(class, ":")
		if (method == "*" || method == r.Method) && strings.Contains(r.Path, text) {
			return true
		}
	}
	return false
}
