// Package replay plays recorded traffic of real Coder servers against the simulator.
//
// The recordings lie packed in simulator/testdata, one archive for each generation of the server; replay/pack makes
// them. The tests of this package send every recorded exchange to a fresh simulator and compare what comes back.
package replay

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Recording is one scripted session with a real server: calls over HTTP in order, and the WebSockets open meanwhile.
type Recording struct {
	Name       string   `json:"name"`
	Steps      []Step   `json:"steps"`
	WebSockets []Socket `json:"websockets,omitempty"`
}

// Step is one entry of a recording. Kind is "http" for an exchange and "poll" for a wait until Chat left its turn;
// other kinds are remarks of the recorder. Times are milliseconds since the recording began.
type Step struct {
	Kind      string    `json:"kind"`
	Index     int       `json:"index"`
	TMs       float64   `json:"t_ms,omitempty"`
	ElapsedMs float64   `json:"elapsed_ms,omitempty"`
	Request   *Request  `json:"request,omitempty"`
	Response  *Response `json:"response,omitempty"`
	Chat      string    `json:"chat,omitempty"`
	// Statuses are the changes a poll saw: pairs of time and status.
	Statuses [][2]any `json:"statuses,omitempty"`
}

// Request is a recorded request. Body is absent, a JSON value, or a JSON string that holds the text of a body that is
// not JSON; {"_len": n} stands for a body too large to record, {"_binary_len": n, "_b64_prefix": …} for binary data.
type Request struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"`
}

// Response is a recorded answer; Body as in Request, null for an empty one.
type Response struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"`
}

// Socket is one recorded WebSocket, or a handshake that the server refused.
type Socket struct {
	ID         string   `json:"id"`
	TConnectMs float64  `json:"t_connect_ms"`
	Request    Request  `json:"request"`
	Handshake  Response `json:"handshake"`
	Frames     []Frame  `json:"frames,omitempty"`
	Close      *Close   `json:"close,omitempty"`
}

// Frame is one WebSocket frame; Dir is "sent" or "recv", seen from the client. Text lies in Data, anything else in
// DataB64. Len is the true length when the data was cut.
type Frame struct {
	TMs     float64 `json:"t_ms"`
	Dir     string  `json:"dir"`
	Opcode  string  `json:"opcode"`
	Fin     *bool   `json:"fin,omitempty"`
	Data    string  `json:"data,omitempty"`
	DataB64 string  `json:"data_b64,omitempty"`
	Len     int     `json:"len,omitempty"`
	Code    int     `json:"code,omitempty"`
	Reason  string  `json:"reason,omitempty"`
}

// Close says who ended a WebSocket and how.
type Close struct {
	By     string  `json:"by"`
	Code   int     `json:"code,omitempty"`
	Reason string  `json:"reason,omitempty"`
	TMs    float64 `json:"t_ms"`
}

// ReadDir reads the recordings of a folder as the recorder left them, ordered by file name; a recording is named
// after its file.
func ReadDir(dir string) ([]Recording, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	recordings := make([]Recording, 0, len(files))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var r Recording
		if err := json.Unmarshal(data, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		r.Name = strings.TrimSuffix(filepath.Base(file), ".json")
		for i := range r.Steps {
			r.Steps[i].Index = i
		}
		recordings = append(recordings, r)
	}
	return recordings, nil
}

// Load reads an archive that Save wrote.
func Load(path string) ([]Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var recordings []Recording
	if err := json.NewDecoder(z).Decode(&recordings); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return recordings, z.Close()
}

// Save writes recordings as one gzipped JSON array; the same recordings always give the same bytes.
func Save(path string, recordings []Recording) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(z).Encode(recordings); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}
