package rfb_test

import (
	"bytes"
	"compress/zlib"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coder-chats-mcp/client/rfb"
	"coder-chats-mcp/client/rfb/vnctest"

	"github.com/stretchr/testify/require"
)

// deflater makes the zlib stream of a ZRLE session.
type deflater struct {
	out    bytes.Buffer
	stream *zlib.Writer
}

// chunk is one rectangle's part of the stream, with its length.
func (d *deflater) chunk(parts ...[]byte) []byte {
	if d.stream == nil {
		d.stream = zlib.NewWriter(&d.out)
	}
	_, _ = d.stream.Write(slices.Concat(parts...))
	_ = d.stream.Flush()
	defer d.out.Reset()
	return text(d.out.String())
}

func zrle(parts ...[]byte) []byte { return new(deflater).chunk(parts...) }

func TestEncodings(t *testing.T) {
	var two deflater // rectangles share one zlib stream
	for name, try := range map[string]struct {
		messages []byte
		want     *image.RGBA
	}{
		"Raw": {
			update(rectangle(image.Rect(0, 0, 3, 2), rfb.Raw, pixels(4, "RGBW.R"))),
			drawn("RGB", "W.R"),
		},
		"Raw in two rectangles": {
			update(
				rectangle(image.Rect(2, 0, 3, 2), rfb.Raw, pixels(4, "RB")),
				rectangle(image.Rect(0, 0, 2, 2), rfb.Raw, pixels(4, "GGWW"))),
			drawn("GGR", "WWB"),
		},
		"an empty rectangle": {
			update(
				rectangle(image.Rect(1, 1, 1, 1), rfb.Raw),
				rectangle(image.Rect(1, 0, 1, 1), rfb.CopyRect, u16(0, 0)),
				rectangle(image.Rect(0, 0, 1, 1), rfb.Raw, pixels(4, "W"))),
			drawn("W"),
		},
		"CopyRect down over itself": {
			update(
				rectangle(image.Rect(0, 0, 1, 4), rfb.Raw, pixels(4, "RGBW")),
				rectangle(image.Rect(0, 1, 1, 4), rfb.CopyRect, u16(0, 0))),
			drawn("R", "R", "G", "B"),
		},
		"CopyRect up over itself": {
			update(
				rectangle(image.Rect(0, 0, 1, 4), rfb.Raw, pixels(4, "RGBW")),
				rectangle(image.Rect(0, 0, 1, 3), rfb.CopyRect, u16(0, 1))),
			drawn("G", "B", "W", "W"),
		},
		"CopyRect sideways over itself": {
			update(
				rectangle(image.Rect(0, 0, 4, 1), rfb.Raw, pixels(4, "RGBW")),
				rectangle(image.Rect(1, 0, 4, 1), rfb.CopyRect, u16(0, 0))),
			drawn("RRGB"),
		},
		"CopyRect of what came in an earlier message": {
			slices.Concat(
				update(rectangle(image.Rect(0, 0, 1, 1), rfb.Raw, pixels(4, "G"))),
				update(rectangle(image.Rect(1, 0, 2, 1), rfb.CopyRect, u16(0, 0)))),
			drawn("GG"),
		},
		"Hextile": {
			update(rectangle(image.Rect(0, 0, 20, 3), rfb.Hextile,
				// Background and foreground, two rectangles in it.
				[]byte{2 | 4 | 8}, pixels(4, "BR"), []byte{2, 0x00, 0x10, 0xf2, 0x00},
				// The next tile: the same background, rectangles in colours of their own.
				[]byte{8 | 16, 2}, pixels(4, "G"), []byte{0x11, 0x10}, pixels(4, "W"), []byte{0x00, 0x00})),
			drawn(
				"RRBBBBBBBBBBBBBBWBBB",
				"BBBBBBBBBBBBBBBBBGGB",
				"BBBBBBBBBBBBBBBRBBBB"),
		},
		"Hextile raw, then the foreground from before it": {
			update(rectangle(image.Rect(0, 0, 2, 33), rfb.Hextile,
				[]byte{2 | 4}, pixels(4, ".W"),
				[]byte{1}, pixels(4, strings.Repeat("RG", 16)),
				[]byte{2 | 8}, pixels(4, "B"), []byte{1, 0x10, 0x00})),
			drawn(slices.Concat(
				slices.Repeat([]string{".."}, 16), slices.Repeat([]string{"RG"}, 16), []string{"BW"})...),
		},
		"ZRLE raw": {
			update(rectangle(image.Rect(0, 0, 2, 2), rfb.ZRLE, zrle([]byte{0}, pixels(3, "RGBW")))),
			drawn("RG", "BW"),
		},
		"ZRLE solid, over several tiles": {
			update(rectangle(image.Rect(0, 0, 66, 65), rfb.ZRLE, zrle(
				[]byte{1}, pixels(3, "R"), []byte{1}, pixels(3, "G"),
				[]byte{1}, pixels(3, "B"), []byte{1}, pixels(3, "W")))),
			drawn(append(slices.Repeat([]string{strings.Repeat("R", 64) + "GG"}, 64), strings.Repeat("B", 64)+"WW")...),
		},
		"ZRLE packed, 2 colours, a bit each": {
			update(rectangle(image.Rect(0, 0, 9, 2), rfb.ZRLE, zrle(
				[]byte{2}, pixels(3, "RG"), []byte{0b01010000, 0b10000000, 0b11111111, 0}))),
			drawn("RGRGRRRRG", "GGGGGGGGR"),
		},
		"ZRLE packed, 4 colours, 2 bits each": {
			update(rectangle(image.Rect(0, 0, 5, 1), rfb.ZRLE, zrle(
				[]byte{4}, pixels(3, "RGBW"), []byte{0b00011011, 0b10000000}))),
			drawn("RGBWB"),
		},
		"ZRLE packed, 5 colours, 4 bits each": {
			update(rectangle(image.Rect(0, 0, 3, 1), rfb.ZRLE, zrle(
				[]byte{5}, pixels(3, "RGBW."), []byte{0x04, 0x20}))),
			drawn("R.B"),
		},
		"ZRLE runs, one longer than a byte": {
			update(rectangle(image.Rect(0, 0, 64, 6), rfb.ZRLE, zrle([]byte{128},
				pixels(3, "R"), []byte{255, 127}, pixels(3, "G"), []byte{0}))),
			drawn(append(slices.Repeat([]string{strings.Repeat("R", 64)}, 5), strings.Repeat("R", 63)+"G")...),
		},
		"ZRLE palette and runs": {
			update(rectangle(image.Rect(0, 0, 4, 2), rfb.ZRLE, zrle(
				[]byte{128 + 3}, pixels(3, "RGB"), []byte{0, 128 | 1, 2, 2, 128, 2}))),
			drawn("RGGG", "BRRR"),
		},
		"ZRLE in two rectangles": {
			slices.Concat(
				update(rectangle(image.Rect(0, 0, 2, 1), rfb.ZRLE, two.chunk([]byte{0}, pixels(3, "RG")))),
				update(rectangle(image.Rect(0, 1, 2, 2), rfb.ZRLE, two.chunk([]byte{1}, pixels(3, "B"))))),
			drawn("RG", "BB"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := rfb.Replay(append(session(try.want.Rect.Size()), try.messages...), "")
			require.ErrorContains(t, err, "closed it")
			require.NotNil(t, img, "the picture never became whole")
			require.Equal(t, try.want, img)
		})
	}
}

func TestMessagesBesideUpdates(t *testing.T) {
	whole := update(rectangle(image.Rect(0, 0, 2, 1), rfb.Raw, pixels(4, "RG")))
	for name, try := range map[string]struct {
		messages []byte
		want     *image.RGBA
	}{
		"Bell":                 {append([]byte{2, 2}, whole...), drawn("RG")},
		"ServerCutText":        {slices.Concat([]byte{3, 0, 0, 0}, text("copied"), whole), drawn("RG")},
		"SetColourMapEntries":  {slices.Concat([]byte{1, 0}, u16(0, 2), make([]byte, 12), whole), drawn("RG")},
		"an update of nothing": {append(update(), whole...), drawn("RG")},
		"DesktopSize, then a picture": {
			slices.Concat(
				update(rectangle(image.Rect(0, 0, 1, 2), desktopSize)),
				update(rectangle(image.Rect(0, 0, 1, 2), rfb.Raw, pixels(4, "BW")))),
			drawn("B", "W"),
		},
		"DesktopSize that loses half a picture": {
			slices.Concat(
				update(
					rectangle(image.Rect(0, 0, 1, 1), rfb.Raw, pixels(4, "R")),
					rectangle(image.Rect(0, 0, 2, 2), desktopSize),
					rectangle(image.Rect(0, 1, 2, 2), rfb.Raw, pixels(4, "GG"))),
				update(rectangle(image.Rect(0, 0, 2, 1), rfb.Raw, pixels(4, "BW")))),
			drawn("BW", "GG"),
		},
		"ExtendedDesktopSize with two screens": {
			slices.Concat(
				update(rectangle(image.Rect(0, 0, 1, 1), extendedDesktopSize, []byte{2, 0, 0, 0}, make([]byte, 32))),
				update(rectangle(image.Rect(0, 0, 1, 1), rfb.Raw, pixels(4, "B")))),
			drawn("B"),
		},
		"ExtendedDesktopSize that tells of a failure": {
			slices.Concat(
				update(slices.Concat(u16(1, 3, 90, 90), u32(int64(extendedDesktopSize)), make([]byte, 4))), whole),
			drawn("RG"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := rfb.Replay(append(session(image.Pt(2, 1)), try.messages...), "")
			require.ErrorContains(t, err, "closed it")
			require.Equal(t, try.want, img)
		})
	}
}

func TestWhatAServerMustNotSend(t *testing.T) {
	size := image.Pt(20, 20)
	all := image.Rectangle{Max: size}
	raw := func(r image.Rectangle) []byte {
		return update(rectangle(r, rfb.Raw, make([]byte, 4*r.Dx()*r.Dy())))
	}
	compressed := func(parts ...[]byte) []byte { return update(rectangle(all, rfb.ZRLE, zrle(parts...))) }
	plainly := slices.Concat([]byte{1}, pixels(3, "R"))
	truncated := compressed([]byte{0}, pixels(3, strings.Repeat("R", 399)))

	for name, try := range map[string]struct {
		messages []byte
		want     error
		says     string
	}{
		"a message of unknown type":           {[]byte{77}, rfb.ErrProtocol, "77"},
		"an encoding that was not offered":    {update(rectangle(all, 7)), rfb.ErrProtocol, "encoding 7"},
		"pixels beyond the desktop":           {raw(image.Rect(15, 0, 21, 1)), rfb.ErrProtocol, "outside"},
		"an empty rectangle beyond it":        {raw(image.Rect(21, 0, 21, 0)), rfb.ErrProtocol, "outside"},
		"a copy from beyond the desktop":      {update(rectangle(all, rfb.CopyRect, u16(1, 0))), rfb.ErrProtocol, "outside"},
		"a Hextile rectangle beyond its tile": {update(rectangle(all, rfb.Hextile, []byte{8, 1, 0xff, 0x10})), rfb.ErrProtocol, "tile"},
		"a ZRLE tile of unknown kind 17":      {compressed([]byte{17}), rfb.ErrProtocol, "17"},
		"a ZRLE tile of unknown kind 129":     {compressed([]byte{129}), rfb.ErrProtocol, "129"},
		"a ZRLE colour beyond the palette":    {compressed([]byte{3}, pixels(3, "RGB"), bytes.Repeat([]byte{255}, 100)), rfb.ErrProtocol, "palette"},
		"a ZRLE run of such a colour":         {compressed([]byte{130}, pixels(3, "RG"), []byte{2}), rfb.ErrProtocol, "palette"},
		"a ZRLE run beyond its tile":          {compressed([]byte{128}, pixels(3, "R"), []byte{255, 255}), rfb.ErrProtocol, "run"},
		"a ZRLE palette run beyond its tile":  {compressed([]byte{130}, pixels(3, "RG"), []byte{128, 255, 255}), rfb.ErrProtocol, "run"},
		"ZRLE pixels that are too few":        {truncated, rfb.ErrProtocol, "unexpected EOF"},
		"ZRLE pixels that are too many":       {compressed(plainly, []byte("and more")), rfb.ErrProtocol, "more than the tiles"},
		"a ZRLE length that is too long": {
			update(rectangle(all, rfb.ZRLE, u32(1<<31), zrle(plainly)[4:])), rfb.ErrProtocol, "more than its tiles",
		},
		"ZRLE that is no zlib":      {update(rectangle(all, rfb.ZRLE, text("something else"))), rfb.ErrProtocol, "zlib"},
		"a desktop of no size":      {update(rectangle(image.Rect(0, 0, 0, 5), desktopSize)), rfb.ErrProtocol, "0x5"},
		"a desktop that is too big": {update(rectangle(image.Rect(0, 0, 8192, 2049), desktopSize)), rfb.ErrTooLarge, "8192x2049"},
		"a side that is too long":   {update(rectangle(image.Rect(0, 0, 1, 8193), extendedDesktopSize, make([]byte, 4))), rfb.ErrTooLarge, "1x8193"},
		"a clipboard too big":       {slices.Concat([]byte{3, 0, 0, 0}, u32(1<<32-1)), rfb.ErrTooLarge, "clipboard"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rfb.Replay(append(session(size), try.messages...), "")
			require.ErrorIs(t, err, try.want)
			require.ErrorContains(t, err, try.says)
		})
	}
}

func TestRecordedSessions(t *testing.T) {
	for name, session := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			img, err := rfb.Replay(session, "password")
			require.ErrorContains(t, err, "closed it")
			file, err := os.Open(filepath.Join("testdata/sessions", name+".png"))
			require.NoError(t, err)
			defer file.Close()
			want, err := png.Decode(file)
			require.NoError(t, err)
			require.True(t, vnctest.Same(want.(*image.RGBA), img))
		})
	}
}

// A connection may end at any byte.
func TestSessionsCutShort(t *testing.T) {
	for name, session := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			for i := 0; i < len(session); i += 1 + len(session)/120 {
				_, err := rfb.Replay(session[:i], "password")
				require.Error(t, err)
				require.NotErrorIs(t, err, rfb.ErrProtocol, "cut at %d", i)
			}
		})
	}
}

// recordings are what Xtigervnc sent, by name.
func recordings(t testing.TB) map[string][]byte {
	files, err := filepath.Glob("testdata/sessions/*.rfb")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[string][]byte{}
	for _, file := range files {
		session, err := os.ReadFile(file)
		require.NoError(t, err)
		all[strings.TrimSuffix(filepath.Base(file), ".rfb")] = session
	}
	return all
}
