package rfb_test

import (
	"image"
	"runtime"
	"runtime/debug"
	"testing"

	"coder-chats-mcp/client/rfb"
)

// maxMemory is what decoding may take in all: the largest desktop and a screenshot
// of it are 64 MiB each, and what was before them is not collected at once.
const maxMemory = 256 << 20

// FuzzSession decodes whatever a server may say, from its greeting on.
func FuzzSession(f *testing.F) {
	for _, session := range recordings(f) {
		if len(session) < 4<<10 { // long ones, uncompressed, keep the fuzzer from trying much
			f.Add(session)
		}
	}
	size := image.Pt(4, 2)
	all := image.Rectangle{Max: size}
	for _, message := range [][]byte{
		{2},
		append([]byte{3, 0, 0, 0}, text("copied")...),
		append([]byte{1, 0, 0, 0, 0, 1}, make([]byte, 6)...),
		update(rectangle(all, rfb.Raw, pixels(4, "RGBW.WGR"))),
		update(rectangle(all, rfb.Raw, pixels(4, "RGBW.WGR")), rectangle(image.Rect(1, 1, 3, 2), rfb.CopyRect, u16(0, 0))),
		update(rectangle(all, rfb.Hextile, []byte{2 | 8 | 16}, pixels(4, "R"), []byte{1}, pixels(4, "G"), []byte{0x11, 0x10})),
		update(rectangle(image.Rect(0, 0, 5, 5), desktopSize)),
		update(rectangle(image.Rect(0, 0, 5, 5), extendedDesktopSize, []byte{1, 0, 0, 0}, make([]byte, 16))),
		update(rectangle(all, rfb.ZRLE, zrle([]byte{0}, pixels(3, "RGBW.WGR")))),
		update(rectangle(all, rfb.ZRLE, zrle([]byte{3}, pixels(3, "RGB"), []byte{0x12, 0x34}))),
		update(rectangle(all, rfb.ZRLE, zrle([]byte{128}, pixels(3, "R"), []byte{7}))),
		update(rectangle(all, rfb.ZRLE, zrle([]byte{130}, pixels(3, "RG"), []byte{0, 129, 6}))),
	} {
		f.Add(append(session(size), message...))
	}
	debug.SetMemoryLimit(maxMemory / 2) // garbage of earlier sessions is no demand of this one
	f.Fuzz(func(t *testing.T, session []byte) {
		img, err := rfb.Replay(session, "password")
		if err == nil {
			t.Fatal("a session that has ended has no reason")
		}
		if img != nil && len(img.Pix) != 4*img.Rect.Dx()*img.Rect.Dy() {
			t.Fatalf("a picture %v of %d bytes", img.Rect, len(img.Pix))
		}
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		if taken := memory.HeapSys - memory.HeapReleased; taken > maxMemory {
			t.Fatalf("the heap takes %d MiB", taken>>20)
		}
	})
}
