package relay

import (
	"strings"

	"coder-chats-mcp/client"
)

// previewLimit bounds the preview that a picture keeps; longer answers are told to listeners all the same.
const previewLimit = 256 << 10

// preview is the answer in progress, its deltas joined.
type preview struct {
	parts     []previewPart
	bytes     int
	truncated bool
	// The attempt and the last part of it, on servers that number them.
	version, attempt, seq int64
}

// previewPart grows by deltas. A strings.Builder hands out its text without copying, and appending leaves the text that
// was handed out alone.
type previewPart struct {
	part client.Part
	text *strings.Builder // of Text, ArgsDelta or ResultDelta, as deltaOf says
}

// deltaOf is the piece of text that a part adds to the one before it, nil for a part that stands alone.
func deltaOf(p *client.Part) *string {
	switch {
	case p.Type == client.PartText, p.Type == client.PartReasoning:
		return &p.Text
	case p.Type == client.PartToolCall && p.Args == nil && p.ArgsDelta != "":
		return &p.ArgsDelta
	case p.Type == client.PartToolResult && p.Result == nil && p.ResultDelta != "":
		return &p.ResultDelta
	}
	return nil
}

// continues reports whether the delta q goes on with the part p.
func continues(p, q *client.Part) bool {
	return p.Type == q.Type && p.ToolCallID == q.ToolCallID && deltaOf(p) != nil && deltaOf(q) != nil
}

func (v *preview) empty() bool { return len(v.parts) == 0 }

func (v *preview) add(e *client.PartEvent) {
	v.version, v.attempt, v.seq = e.HistoryVersion, e.GenerationAttempt, e.Seq
	if v.bytes >= previewLimit {
		v.truncated = true
		return
	}
	delta := deltaOf(&e.Part)
	old := v.find(&e.Part)
	switch {
	case delta == nil && old != nil: // the whole call or result after its deltas
		old.part, old.text = e.Part, nil
		v.bytes += len(e.Part.Args) + len(e.Part.Result)
	case delta == nil:
		v.parts = append(v.parts, previewPart{part: e.Part})
		v.bytes += len(e.Part.Args) + len(e.Part.Result) + len(e.Part.URL) + len(e.Part.Content)
	case old != nil && old.text != nil:
		old.text.WriteString(*delta)
		v.bytes += len(*delta)
	default:
		p := previewPart{part: e.Part, text: new(strings.Builder)}
		p.text.WriteString(*delta)
		v.parts = append(v.parts, p)
		v.bytes += len(*delta)
	}
}

// find is the part that p goes on with: the last one of text, any one of the same tool call.
func (v *preview) find(p *client.Part) *previewPart {
	for i := len(v.parts) - 1; i >= 0; i-- {
		q := &v.parts[i]
		if p.ToolCallID != "" && q.part.Type == p.Type && q.part.ToolCallID == p.ToolCallID {
			return q
		}
		if p.ToolCallID == "" {
			if continues(&q.part, p) {
				return q
			}
			return nil
		}
	}
	return nil
}

func (v *preview) reset() { *v = preview{} }

// snapshot is the preview as parts, with all deltas joined.
func (v *preview) snapshot() []client.Part {
	parts := make([]client.Part, 0, len(v.parts))
	for i := range v.parts {
		p := v.parts[i].part
		if t := v.parts[i].text; t != nil {
			*deltaOf(&p) = t.String()
		}
		parts = append(parts, p)
	}
	return parts
}
