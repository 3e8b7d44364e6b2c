package rfb_test

import (
	"context"
	"encoding/hex"
	"image"
	"slices"
	"strings"
	"testing"

	"coder-chats-mcp/client/rfb"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHandshake(t *testing.T) {
	// What OpenSSL's DES makes of the challenge with the password's bits reversed.
	challenge := []byte("0123456789abcdef")
	response, err := hex.DecodeString("5645abeb5f1e6475e8feb11beb66ea19")
	require.NoError(t, err)
	accepted := u32(0)

	for name, try := range map[string]struct {
		greeting, answer string
		options          rfb.Options
		security         func(p *peer)
		shared           byte
		offered          []int32
	}{
		"3.3 none": {greeting: "003.003", answer: "003.003", security: func(p *peer) { p.say(u32(1)) }},
		"3.3 password": {
			greeting: "003.003", answer: "003.003", options: rfb.Options{Password: "password"},
			security: func(p *peer) { p.say(u32(2), challenge); p.expect(response); p.say(accepted) },
		},
		"3.5 is 3.3": {greeting: "003.005", answer: "003.003", security: func(p *peer) { p.say(u32(1)) }},
		"3.7 none":   {greeting: "003.007", answer: "003.007", security: func(p *peer) { p.say([]byte{2, 16, 1}); p.expect([]byte{1}) }},
		"3.7 password": {
			greeting: "003.007", answer: "003.007", options: rfb.Options{Password: "password, of which 8 bytes count"},
			security: func(p *peer) {
				p.say([]byte{1, 2})
				p.expect([]byte{2})
				p.say(challenge)
				p.expect(response)
				p.say(accepted)
			},
		},
		"3.8 none, though there is a password": {
			greeting: "003.008", answer: "003.008", options: rfb.Options{Password: "password"},
			security: func(p *peer) { p.say([]byte{2, 2, 1}); p.expect([]byte{1}); p.say(accepted) },
		},
		"3.8 password": {
			greeting: "003.008", answer: "003.008", options: rfb.Options{Password: "password"},
			security: func(p *peer) {
				p.say([]byte{3, 19, 30, 2})
				p.expect([]byte{2})
				p.say(challenge)
				p.expect(response)
				p.say(accepted)
			},
		},
		"3.889 is 3.8": {greeting: "003.889", answer: "003.008", security: none38},
		"4.1 is 3.8":   {greeting: "004.001", answer: "003.008", security: none38},
		"exclusive, encodings chosen": {
			greeting: "003.008", answer: "003.008", security: none38,
			options: rfb.Options{Exclusive: true, Encodings: []rfb.Encoding{rfb.Hextile}},
			offered: []int32{5, -223, -308},
		},
	} {
		t.Run(name, func(t *testing.T) {
			shared, offered := byte(1), []int32{16, 5, 1, 0, -223, -308}
			if try.options.Exclusive {
				shared, offered = 0, try.offered
			}
			conn := scripted(t, func(p *peer) {
				p.say([]byte("RFB " + try.greeting + "\n"))
				p.expect([]byte("RFB " + try.answer + "\n"))
				try.security(p)
				p.expect([]byte{shared})
				p.say(serverInit(image.Pt(30, 20), "a desk\x00top"))
				assert.Equal(t, offered, p.preferences())
			})
			c, err := rfb.New(within(t), conn, try.options)
			require.NoError(t, err)
			<-c.Done() // the script is through
			require.Equal(t, image.Pt(30, 20), c.Size())
			require.Equal(t, "a desk\x00top", c.Name())
			require.NoError(t, c.Close())
		})
	}
}

func none38(p *peer) {
	p.say([]byte{1, 1})
	p.expect([]byte{1})
	p.say(u32(0))
}

func TestHandshakeFailures(t *testing.T) {
	challenge := strings.Repeat("c", 16)
	reason := func(s string) string { return string(text(s)) }
	hugeDesktop := string(serverInit(image.Pt(60000, 60000), ""))
	for name, try := range map[string]struct {
		server, password string
		want             error
		says             string
	}{
		"another protocol":             {"HTTP/1.1 400", "", rfb.ErrProtocol, "HTTP/1.1 400"},
		"a version too old":            {"RFB 002.002\n", "", rfb.ErrProtocol, "002.002"},
		"3.3 refused":                  {"RFB 003.003\n\x00\x00\x00\x00" + reason("go away"), "", rfb.ErrRefused, `"go away"`},
		"3.3 other security":           {"RFB 003.003\n\x00\x00\x01\x02", "", rfb.ErrSecurity, "[255]"},
		"3.3 password is needed":       {"RFB 003.003\n\x00\x00\x00\x02", "", rfb.ErrPasswordRequired, ""},
		"3.3 password is wrong":        {"RFB 003.003\n\x00\x00\x00\x02" + challenge + "\x00\x00\x00\x01", "x", rfb.ErrPasswordWrong, ""},
		"3.7 too many attempts":        {"RFB 003.007\n\x01\x02" + challenge + "\x00\x00\x00\x02", "x", rfb.ErrPasswordWrong, "too many"},
		"3.8 refused":                  {"RFB 003.008\n\x00" + reason("Too many\nfailures"), "", rfb.ErrRefused, `"Too many\nfailures"`},
		"3.8 other security":           {"RFB 003.008\n\x02\x13\x1e", "", rfb.ErrSecurity, "[19 30]"},
		"3.8 password is needed":       {"RFB 003.008\n\x01\x02", "", rfb.ErrPasswordRequired, ""},
		"3.8 password is wrong":        {"RFB 003.008\n\x01\x02" + challenge + "\x00\x00\x00\x01" + reason("no"), "x", rfb.ErrPasswordWrong, `"no"`},
		"3.8 refused without password": {"RFB 003.008\n\x01\x01\x00\x00\x00\x01" + reason("full"), "", rfb.ErrRefused, `"full"`},
		"a reason that is too long":    {"RFB 003.008\n\x00\xff\xff\xff\xff", "", rfb.ErrTooLarge, "reason"},
		"a reason that is cut off":     {"RFB 003.008\n\x00\x00\x00", "", rfb.ErrRefused, "cut off"},
		"a name that is too long":      {string(slices.Concat(session(image.Pt(1, 1))[:38], u32(1<<20))), "", rfb.ErrTooLarge, "name"},
		"a desktop of no size":         {string(session(image.Point{})), "", rfb.ErrProtocol, "0x0"},
		"a desktop that is too big":    {"RFB 003.003\n\x00\x00\x00\x01" + hugeDesktop, "", rfb.ErrTooLarge, "60000x60000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rfb.Replay([]byte(try.server), try.password)
			require.ErrorIs(t, err, try.want)
			require.ErrorContains(t, err, try.says)
		})
	}
}

func TestNewEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	conn := scripted(t, func(p *peer) {
		p.say([]byte("RFB 003.008\n"))
		p.hear(12)
		cancel(assert.AnError) // and says nothing more
		p.untilGone()
	})
	_, err := rfb.New(ctx, conn, rfb.Options{})
	require.ErrorIs(t, err, assert.AnError)
	_, err = conn.Write([]byte{0})
	require.Error(t, err, "the connection is closed")
}
