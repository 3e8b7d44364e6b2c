package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
	"time"
	"unicode"

	"coder-chats-mcp/client"
	"coder-chats-mcp/client/rfb"
)

const redrawPause = 300 * time.Millisecond // what programs get to answer an action on the screen before the picture is taken

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

// step does one action. The context bounds it.
type step func(context.Context, *rfb.Conn) error

// planned checks all actions before the first is done.
func planned(actions []action, shown rfb.Picture) ([]step, error) {
	steps := make([]step, len(actions))
	for i, a := range actions {
		var err error
		if steps[i], err = a.step(shown); err != nil {
			return nil, &Failure{
				Kind: string(client.KindInvalidArgument), Message: fmt.Sprintf("actions[%d] (%s) %s; nothing was done", i, a.Action, strings.TrimPrefix(err.Error(), "rfb: input ")),
				Next: "correct it and send all actions again",
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
		return func(ctx context.Context, c *rfb.Conn) error { return c.Type(ctx, a.Text) }, rfb.CheckText(a.Text)
	case "key":
		if a.Key == "" {
			return nil, errors.New("needs key")
		}
		return func(ctx context.Context, c *rfb.Conn) error { return c.Key(ctx, a.Key) }, rfb.CheckKey(a.Key)
	case "wait":
		if a.Seconds <= 0 {
			return nil, errors.New("needs seconds")
		}
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
		return func(ctx context.Context, c *rfb.Conn) error { return c.Scroll(ctx, at, a.DX, a.DY) }, rfb.CheckScroll(a.DX, a.DY)
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

// typingNote warns of characters that may have been lost: the desktop's server has only so many keys to give, and says nothing when they are used up.
func typingNote(actions []action, conn *rfb.Conn) string {
	foreign := func(r rune) bool { return r > unicode.MaxASCII }
	typed := slices.ContainsFunc(actions, func(a action) bool {
		return a.Action == "type" && strings.ContainsFunc(a.Text, foreign) || a.Action == "key" && strings.ContainsFunc(a.Key, foreign)
	})
	if n := conn.Foreign(); typed && n >= rfb.ForeignRoom {
		return fmt.Sprintf("%d different characters that a US keyboard lacks have been typed, and a desktop may lose those beyond some %d without a word: "+
			"compare with the picture, or have the chat write the text to a file", n, rfb.ForeignRoom)
	}
	return ""
}
