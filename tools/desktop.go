package tools

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"sync"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client/rfb"
	"coder-chats-mcp/view"
)

const shownWidth = 1280 // of a picture, in pixels, when the call does not say

type viewDesktopArgs struct {
	Chat     uuid.UUID `json:"chat" jsonschema:"format=chat,description=id or URL"`
	MaxWidth int       `json:"max_width,omitempty" jsonschema:"minimum=64,maximum=4096,description=of the picture; default 1280"`
}

// screen is a desktop as it was shown; the picture itself is content.
type screen struct {
	Chat        uuid.UUID `json:"id"`
	Name        string    `json:"name,omitempty"`
	Width       int       `json:"width"` // of the desktop, in pixels
	Height      int       `json:"height"`
	ShownWidth  int       `json:"shown_width"`
	ShownHeight int       `json:"shown_height"`
	MediaType   string    `json:"media_type"`
	Done        int       `json:"actions_done,omitempty"`
	Note        string    `json:"note,omitempty"`
}

var _ = declare(Spec{
	Name: "view_chat_desktop", Title: "View chat desktop", Operation: "Connect to chat workspace desktop via WebSockets", Toolset: Workspace, Effect: Reads, Idempotent: true,
	Description: "A picture of the screen of a chat's workspace.",
}, func(ctx context.Context, s *Session, a viewDesktopArgs) (*Result, error) {
	d, err := s.desktops.take(ctx, a.Chat)
	if err != nil {
		return nil, err
	}
	defer d.release()
	picture, err := s.look(ctx, d, cmp.Or(a.MaxWidth, shownWidth))
	if err != nil {
		return nil, err
	}
	return d.answer(picture).result(picture), nil
})

type controlDesktopArgs struct {
	Chat     uuid.UUID `json:"chat" jsonschema:"format=chat,description=id or URL"`
	Actions  []action  `json:"actions" jsonschema:"minItems=1,maxItems=100"`
	MaxWidth int       `json:"max_width,omitempty" jsonschema:"minimum=64,maximum=4096"` // default: that of the last picture
}

var _ = declare(Spec{
	Name: "control_chat_desktop", Title: "Control chat desktop", Operation: "Connect to chat workspace desktop via WebSockets", Toolset: Workspace, Effect: Writes,
	Description: "Works the pointer and keyboard of a chat's workspace, in coordinates of the last picture. Answers with a new one.",
}, func(ctx context.Context, s *Session, a controlDesktopArgs) (*Result, error) {
	d, err := s.desktops.take(ctx, a.Chat)
	if err != nil {
		return nil, err
	}
	defer d.release()
	shown, err := s.scale(ctx, d, a.MaxWidth)
	if err != nil {
		return nil, err
	}
	steps, err := planned(a.Actions, shown.picture)
	if err != nil {
		return nil, err
	}
	conn, err := d.do(ctx, s, a.Actions, steps)
	if err != nil {
		return nil, err
	}
	// The same connection: its picture shows that the actions have arrived, for RFB confirms none.
	screenshot, err := d.screenshot(ctx, conn)
	if err != nil {
		return nil, unconfirmed(s, len(steps), err)
	}
	picture, err := s.show(ctx, a.Chat, screenshot, shown.width)
	if err != nil {
		return nil, unconfirmed(s, len(steps), err)
	}
	answer := d.answer(picture)
	answer.Done, answer.Note = len(steps), typingNote(a.Actions, conn)
	return answer.result(picture), nil
})

// unconfirmed says that only the picture is missing, so that nobody does it all again unseen.
func unconfirmed(s *Session, actions int, err error) error {
	f := explain(Spec{Name: "view_chat_desktop", Effect: Reads}, s, err)
	f.Message = fmt.Sprintf("all %d actions were sent, but the picture after them failed: %s", actions, f.Message)
	f.Next = "look with view_chat_desktop, which of them arrived, before you repeat any"
	return f
}

// shown is how a session last saw a desktop.
type shown struct {
	picture rfb.Picture // without its data
	width   int         // that it was asked for
}

// pictures are what was shown of each chat's desktop. Coordinates are in them, so that they are each session's own, while the connection is shared.
type pictures struct {
	mu   sync.Mutex
	last map[uuid.UUID]shown
}

// pictures are the session's. A session of one call has none to come back to: those share the caller's.
func (s *Session) pictures() *pictures {
	if s.OneCall {
		return &s.Caller.shown
	}
	return &s.shown
}

func (p *pictures) of(chat uuid.UUID) (shown, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, ok := p.last[chat]
	return last, ok
}

func (p *pictures) keep(chat uuid.UUID, now shown) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[uuid.UUID]shown{}
	}
	now.picture.Data = nil
	p.last[chat] = now
}

// look takes a picture and shows it.
func (s *Session) look(ctx context.Context, d *desktop, width int) (rfb.Picture, error) {
	screenshot, err := d.look(ctx, s.Client)
	if err != nil {
		return rfb.Picture{}, err
	}
	return s.show(ctx, d.chat, screenshot, width)
}

// show scales a screenshot and remembers how.
func (s *Session) show(ctx context.Context, chat uuid.UUID, screenshot *image.RGBA, width int) (rfb.Picture, error) {
	picture, err := rfb.NewPicture(ctx, screenshot, width)
	if err != nil {
		return picture, err
	}
	s.pictures().keep(chat, shown{picture, width})
	return picture, nil
}

// scale is how the coordinates of actions relate to the desktop: as in the last picture, or in one as wide as asked for.
func (s *Session) scale(ctx context.Context, d *desktop, width int) (shown, error) {
	conn, _, err := d.connected(ctx, s.Client)
	if err != nil {
		return shown{}, err
	}
	last, seen := s.pictures().of(d.chat)
	if !seen || width != 0 && width != last.width {
		width = cmp.Or(width, shownWidth)
		picture, err := s.look(ctx, d, width)
		return shown{picture, width}, err
	}
	if size := conn.Size(); size != last.picture.True {
		return shown{}, changedSize(size)
	}
	return last, nil
}

// answer is what is said of a picture.
func (d *desktop) answer(p rfb.Picture) screen {
	return screen{
		Chat: d.chat, Name: d.name(), Width: p.True.X, Height: p.True.Y, ShownWidth: p.Shown.X, ShownHeight: p.Shown.Y, MediaType: p.MIME,
	}
}

func (s screen) result(p rfb.Picture) *Result {
	done, note := "", ""
	if s.Done > 0 {
		done = fmt.Sprintf("%d actions done. ", s.Done)
	}
	if s.Note != "" {
		note = " " + sentence(s.Note)
	}
	r := textf(s, "%sDesktop %s of chat %s: %dx%d, shown as %dx%d (%s). control_chat_desktop takes coordinates of this picture.%s",
		done, view.Inline(s.Name, 100), s.Chat, s.Width, s.Height, s.ShownWidth, s.ShownHeight, s.MediaType, note)
	r.Content = []mcp.Content{mcp.NewImageContent(base64.StdEncoding.EncodeToString(p.Data), p.MIME)}
	return r
}
