package tools

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"

	"coder-chats-mcp/client"
	"coder-chats-mcp/client/rfb"
	"coder-chats-mcp/view"
)

const (
	shownWidth  = 1280                   // of a picture, in pixels, when the call does not say
	desktopIdle = time.Minute            // how long a connection is kept after a call
	lookTimeout = 20 * time.Second       // for a picture, or for connecting; the desktop is dead after that
	redrawPause = 300 * time.Millisecond // what programs get to answer an action on the screen before the picture is taken
)

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
	picture, err := d.look(ctx, s.Client, cmp.Or(a.MaxWidth, shownWidth))
	if err != nil {
		return nil, err
	}
	return d.shownAs(picture, 0), nil
})

// action is one thing to do on a desktop.
type action struct {
	Action  string  `json:"action" jsonschema:"enum=move,enum=click,enum=double_click,enum=drag,enum=scroll,enum=type,enum=key,enum=wait"`
	X       *int    `json:"x,omitempty"`
	Y       *int    `json:"y,omitempty"`
	ToX     *int    `json:"to_x,omitempty"`
	ToY     *int    `json:"to_y,omitempty"`
	Button  string  `json:"button,omitempty" jsonschema:"enum=left,enum=middle,enum=right"`
	Text    string  `json:"text,omitempty"`
	Key     string  `json:"key,omitempty" jsonschema:"description=Return; ctrl+shift+t"`
	DX      int     `json:"dx,omitempty"` // wheel steps to the right
	DY      int     `json:"dy,omitempty" jsonschema:"description=wheel steps down"`
	Seconds float64 `json:"seconds,omitempty" jsonschema:"maximum=30"`
}

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
	shown, err := d.scale(ctx, s.Client, a.MaxWidth)
	if err != nil {
		return nil, err
	}
	steps, err := planned(a.Actions, shown)
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
	picture, err := d.show(ctx, screenshot, cmp.Or(a.MaxWidth, d.width))
	if err != nil {
		return nil, unconfirmed(s, len(steps), err)
	}
	return d.shownAs(picture, len(steps)), nil
})

// unconfirmed says that only the picture is missing, so that nobody does it all again unseen.
func unconfirmed(s *Session, actions int, err error) error {
	f := explain(Spec{Name: "view_chat_desktop", Effect: Reads}, s, err)
	f.Message = fmt.Sprintf("all %d actions were sent, but the picture after them failed: %s", actions, f.Message)
	f.Next = "look with view_chat_desktop, which of them arrived, before you repeat any"
	return f
}

// step does one action. The context bounds it.
type step func(context.Context, *rfb.Conn) error

// planned checks all actions before the first is done.
func planned(actions []action, shown rfb.Picture) ([]step, error) {
	steps := make([]step, len(actions))
	for i, a := range actions {
		var err error
		if steps[i], err = a.step(shown); err != nil {
			return nil, &Failure{
				Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("actions[%d] (%s) %v; nothing was done", i, a.Action, err), Next: "correct it and send all actions again",
			}
		}
	}
	return steps, nil
}

func (a action) step(shown rfb.Picture) (step, error) {
	switch a.Action {
	case "type":
		if a.Text == "" {
			return nil, errors.New("needs text")
		}
		return func(ctx context.Context, c *rfb.Conn) error { return c.Type(ctx, a.Text) }, nil
	case "key":
		if a.Key == "" {
			return nil, errors.New("needs key")
		}
		return func(ctx context.Context, c *rfb.Conn) error { return c.Key(ctx, a.Key) }, nil
	case "wait":
		return func(ctx context.Context, c *rfb.Conn) error {
			return pause(ctx, c, time.Duration(a.Seconds*float64(time.Second)))
		}, nil
	}
	at, err := onScreen(shown, a.X, a.Y, "x and y")
	if err != nil {
		return nil, err
	}
	button := map[string]rfb.Button{"middle": rfb.MiddleButton, "right": rfb.RightButton}[a.Button]
	button = cmp.Or(button, rfb.LeftButton)
	switch a.Action {
	case "move":
		return func(ctx context.Context, c *rfb.Conn) error { return c.Move(ctx, at) }, nil
	case "click":
		return func(ctx context.Context, c *rfb.Conn) error { return c.Click(ctx, at, button, 1) }, nil
	case "double_click":
		return func(ctx context.Context, c *rfb.Conn) error { return c.Click(ctx, at, button, 2) }, nil
	case "scroll":
		if a.DX == 0 && a.DY == 0 {
			return nil, errors.New("needs dx or dy")
		}
		return func(ctx context.Context, c *rfb.Conn) error { return c.Scroll(ctx, at, a.DX, a.DY) }, nil
	}
	to, err := onScreen(shown, a.ToX, a.ToY, "to_x and to_y")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, c *rfb.Conn) error { return c.Drag(ctx, at, to, button) }, nil
}

// onScreen is the pixel of the desktop behind a place in the picture.
func onScreen(shown rfb.Picture, x, y *int, names string) (image.Point, error) {
	if x == nil || y == nil {
		return image.Point{}, errors.New("needs " + names)
	}
	at := image.Pt(*x, *y)
	if !at.In(image.Rectangle{Max: shown.Shown}) {
		return image.Point{}, fmt.Errorf("is at %d,%d, which is not in the picture of %dx%d", *x, *y, shown.Shown.X, shown.Shown.Y)
	}
	return shown.OnDesktop(at), nil
}

// pause waits while the desktop is there.
func pause(ctx context.Context, c *rfb.Conn, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.Done():
		return rfb.ErrClosed
	}
}

// desktops keeps the connections to workspace desktops between calls, so that click, look, click is quick. What is left of a desktop after its
// connection is the scale of its last picture.
type desktops struct {
	idle time.Duration // 0 = desktopIdle

	mu     sync.Mutex
	open   map[uuid.UUID]*desktop
	closed bool
}

// desktop is a chat's. One call at a time has it; what is below mu can also be ended by the timer and by close.
type desktop struct {
	chat  uuid.UUID
	idle  time.Duration
	calls chan struct{} // holds one token: the call at work
	shown rfb.Picture   // the last picture, without its data
	width int           // that it was asked for; 0 before the first

	mu     sync.Mutex
	conn   *rfb.Conn
	timer  *time.Timer
	closed bool
}

var errDesktopsClosed = &Failure{Kind: string(client.KindUnavailable), Message: "this server is shutting down", Next: "start it again"}

// take waits for a chat's desktop to be free and gives it to the caller, who releases it.
func (d *desktops) take(ctx context.Context, chat uuid.UUID) (*desktop, error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, errDesktopsClosed
	}
	one := d.open[chat]
	if one == nil {
		one = &desktop{chat: chat, idle: cmp.Or(d.idle, desktopIdle), calls: make(chan struct{}, 1)}
		if d.open == nil {
			d.open = map[uuid.UUID]*desktop{}
		}
		d.open[chat] = one
	}
	d.mu.Unlock()
	select {
	case one.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.timer != nil {
		one.timer.Stop()
		one.timer = nil
	}
	return one, nil
}

// close ends all connections, those of calls at work too.
func (d *desktops) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, one := range d.open {
		one.mu.Lock()
		one.closed = true
		if one.timer != nil {
			one.timer.Stop()
		}
		one.drop()
		one.mu.Unlock()
	}
}

// release lets the next call have the desktop, and the connection end when none comes in time.
func (d *desktop) release() {
	d.mu.Lock()
	if d.conn != nil {
		var timer *time.Timer
		timer = time.AfterFunc(d.idle, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.timer == timer { // no call has it since
				d.drop()
			}
		})
		d.timer = timer
	}
	d.mu.Unlock()
	<-d.calls
}

// drop ends the connection. mu is held.
func (d *desktop) drop() {
	if d.conn != nil {
		_ = d.conn.Close()
		d.conn = nil
	}
}

// connected is the connection: the one from before when it lives, else a new one.
func (d *desktop) connected(ctx context.Context, c *client.Client) (conn *rfb.Conn, kept bool, err error) {
	d.mu.Lock()
	if d.conn != nil {
		select {
		case <-d.conn.Done():
			d.drop()
		default:
		}
	}
	conn, closed := d.conn, d.closed
	d.mu.Unlock()
	switch {
	case closed:
		return nil, false, errDesktopsClosed
	case conn != nil:
		return conn, true, nil
	}
	conn, err = dialDesktop(ctx, c, d.chat)
	if err != nil {
		return nil, false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = conn.Close()
		return nil, false, errDesktopsClosed
	}
	d.conn = conn
	return conn, false, nil
}

func dialDesktop(ctx context.Context, c *client.Client, chat uuid.UUID) (*rfb.Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	stream, err := c.Desktop(dialing, chat)
	if err != nil {
		return nil, explainWorkspace(err)
	}
	conn, err := rfb.New(dialing, stream, rfb.Options{})
	if err != nil {
		return nil, explainDesktop(ctx, err)
	}
	return conn, nil
}

// explainDesktop says what a failed greeting or picture means. The caller's own end stays as it is.
func explainDesktop(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f := &Failure{Kind: string(client.KindUnsupported), Message: strings.TrimPrefix(err.Error(), "rfb: "), Next: desktopAdvice}
	switch {
	case errors.Is(err, rfb.ErrPasswordRequired), errors.Is(err, rfb.ErrPasswordWrong), errors.Is(err, rfb.ErrSecurity):
		f.Next = "have the chat start its desktop without a password: it is reached through Coder alone"
	case errors.Is(err, rfb.ErrProtocol), errors.Is(err, rfb.ErrTooLarge), errors.Is(err, rfb.ErrRefused):
	case errors.Is(err, context.DeadlineExceeded):
		f.Kind, f.Message = string(client.KindTimeout), fmt.Sprintf("the desktop showed nothing within %d s", int(lookTimeout.Seconds()))
		f.Next = "try again; if it stays, the workspace hangs or its desktop does"
	case errors.Is(err, rfb.ErrClosed):
		f.Kind, f.Message = string(client.KindUnavailable), "the desktop's connection ended: "+view.Inline(f.Message, 200)
		f.Next = "try again; if it stays, check the workspace in Coder"
	default: // the stream ended before the greeting did
		f.Message = noDesktop + ": its stream ended at once"
	}
	return f
}

// look takes a picture. A connection from before that turns out to be dead is replaced once.
func (d *desktop) look(ctx context.Context, c *client.Client, width int) (rfb.Picture, error) {
	conn, kept, err := d.connected(ctx, c)
	if err != nil {
		return rfb.Picture{}, err
	}
	screenshot, err := d.screenshot(ctx, conn)
	if err != nil && kept && ctx.Err() == nil {
		if conn, _, err = d.connected(ctx, c); err != nil {
			return rfb.Picture{}, err
		}
		screenshot, err = d.screenshot(ctx, conn)
	}
	if err != nil {
		return rfb.Picture{}, err
	}
	return d.show(ctx, screenshot, width)
}

// screenshot is what the desktop shows now. A connection that gives none is dropped.
func (d *desktop) screenshot(ctx context.Context, conn *rfb.Conn) (*image.RGBA, error) {
	looking, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	screenshot, err := conn.Screenshot(looking)
	if err == nil {
		return screenshot, nil
	}
	if ctx.Err() == nil { // else the connection is good: the caller has gone
		d.mu.Lock()
		d.drop()
		d.mu.Unlock()
	}
	return nil, explainDesktop(ctx, err)
}

// show scales a screenshot and remembers how.
func (d *desktop) show(ctx context.Context, screenshot *image.RGBA, width int) (rfb.Picture, error) {
	picture, err := rfb.NewPicture(ctx, screenshot, width)
	if err != nil {
		return picture, fmt.Errorf("encode the picture of the desktop: %w", err)
	}
	d.shown, d.width = picture, width
	d.shown.Data = nil
	return picture, nil
}

// scale is how the coordinates of actions relate to the desktop: as in the last picture, or in one as wide as asked for.
func (d *desktop) scale(ctx context.Context, c *client.Client, width int) (rfb.Picture, error) {
	conn, _, err := d.connected(ctx, c)
	if err != nil {
		return rfb.Picture{}, err
	}
	if d.width == 0 || width != 0 && width != d.width {
		return d.look(ctx, c, cmp.Or(width, d.width, shownWidth))
	}
	if size := conn.Size(); size != d.shown.True {
		return rfb.Picture{}, &Failure{
			Kind: string(client.KindConflict), Message: fmt.Sprintf("the desktop is %dx%d now, other than in the last picture; nothing was done", size.X, size.Y),
			Next: "look with view_chat_desktop, then act on that picture",
		}
	}
	return d.shown, nil
}

// do does the steps and lets the programs redraw. It gives the connection that it used; a failure says how far it came.
func (d *desktop) do(ctx context.Context, s *Session, actions []action, steps []step) (*rfb.Conn, error) {
	conn, _, err := d.connected(ctx, s.Client)
	if err != nil {
		return nil, err
	}
	acting, cancel := context.WithTimeout(ctx, s.Config.MaxWait)
	defer cancel()
	for i, one := range steps {
		if len(steps) > 1 {
			s.Peer.Progress(ctx, fmt.Sprintf("%d of %d: %s", i+1, len(steps), actions[i].Action))
		}
		if err := one(acting, conn); err != nil {
			return nil, partlyDone(ctx, actions, i, err)
		}
	}
	_ = pause(ctx, conn, redrawPause) // what ends it shows in the picture that is taken next
	return conn, nil
}

// partlyDone says which actions were done before the one that failed.
func partlyDone(ctx context.Context, actions []action, at int, err error) error {
	f := &Failure{Kind: string(client.KindUnavailable), Next: "look with view_chat_desktop before you go on"}
	switch {
	case errors.Is(err, rfb.ErrInput):
		f.Kind, f.Message = string(client.KindInvalidArgument), strings.TrimPrefix(err.Error(), "rfb: ")
	case ctx.Err() != nil:
		f.Kind, f.Message = string(client.KindTimeout), "the call was cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		f.Kind, f.Message = string(client.KindTimeout), "the actions take longer than a call may"
	default:
		f.Message = strings.TrimPrefix(err.Error(), "rfb: ")
	}
	done := make([]string, at)
	for i := range done {
		done[i] = fmt.Sprintf("%d %s", i, actions[i].Action)
	}
	if at < len(actions) {
		f.Message = fmt.Sprintf("actions[%d] (%s) failed: %s", at, actions[at].Action, f.Message)
	}
	f.Message += "; done before: " + cmp.Or(strings.Join(done, ", "), "nothing")
	if at+1 < len(actions) {
		f.Message += fmt.Sprintf("; not done: %d after it", len(actions)-at-1)
	}
	return f
}

// shownAs is the picture as a result.
func (d *desktop) shownAs(p rfb.Picture, actions int) *Result {
	answer := screen{
		Chat: d.chat, Width: p.True.X, Height: p.True.Y, ShownWidth: p.Shown.X, ShownHeight: p.Shown.Y, MediaType: p.MIME, Done: actions,
	}
	d.mu.Lock()
	if d.conn != nil {
		answer.Name = view.Line(d.conn.Name(), 100)
	}
	d.mu.Unlock()
	done := ""
	if actions > 0 {
		done = fmt.Sprintf("%d actions done. ", actions)
	}
	r := textf(answer, "%sDesktop %s of chat %s: %dx%d, shown as %dx%d (%s). control_chat_desktop takes coordinates of this picture.",
		done, view.Inline(answer.Name, 100), d.chat, p.True.X, p.True.Y, p.Shown.X, p.Shown.Y, p.MIME)
	r.Content = []mcp.Content{mcp.NewImageContent(base64.StdEncoding.EncodeToString(p.Data), p.MIME)}
	return r
}
