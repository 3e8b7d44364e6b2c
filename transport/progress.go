package transport

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// Progress sends notifications/progress for the request of ctx, with a counter that rises by itself. Two of them are at
// least Options.ProgressInterval apart: what comes sooner waits for its time, the newest message wins, and the response
// makes it moot. It does nothing if the client gave no progress token, and never waits.
func Progress(ctx context.Context, message string) {
	if r := requestFrom(ctx); r != nil && r.token != nil {
		r.progress.report(r, message)
	}
}

// HasProgress says whether the client wants progress of the request of ctx.
func HasProgress(ctx context.Context) bool {
	r := requestFrom(ctx)
	return r != nil && r.token != nil
}

type progress struct {
	mu      sync.Mutex
	count   int64
	message string
	sent    time.Time
	timer   *time.Timer // set while a message waits for its time
	over    bool
}

type progressParams struct {
	Token    json.RawMessage `json:"progressToken"`
	Progress int64           `json:"progress"`
	Message  string          `json:"message,omitempty"`
}

func (p *progress) report(r *request, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.count++
	p.message = message
	if p.timer != nil {
		return
	}
	wait := r.session.core.opts.ProgressInterval - time.Since(p.sent)
	if p.sent.IsZero() || wait <= 0 {
		p.send(r)
		return
	}
	p.timer = time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.over {
			p.timer = nil
			p.send(r)
		}
	})
}

func (p *progress) send(r *request) {
	p.sent = time.Now()
	params := progressParams{r.token, p.count, p.message}
	r.session.post(r.out, r, string(mcp.MethodNotificationProgress), "", params)
}

func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.timer != nil {
		p.timer.Stop()
	}
}
