package rfb_test

import (
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
		f.Add(session)
	}
	f.Add(append(session(drawn("RG").Rect.Max), update(rectangle(drawn("RGB", "RGB").Rect, extendedDesktopSize, []byte{1, 0, 0, 0}, make([]byte, 16)))...))
	f.Add(append(session(drawn("RG").Rect.Max), update(rectangle(drawn("RG").Rect, rfb.ZRLE, zrle([]byte{130}, pixels(3, "RG"), []byte{0, 1})))...))
	debug.SetMemoryLimit(maxMemory * 3 / 4)
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
		if memory.HeapSys > maxMemory { // the most there has been, not what there is
			t.Fatalf("the heap has grown to %d MiB", memory.HeapSys>>20)
		}
	})
}
