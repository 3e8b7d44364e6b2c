// Command pack makes the archives in simulator/testdata from a folder that holds fixtures-2026-05 and fixtures-2026-08:
//
//	go run ./simulator/replay/pack DIR
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"coder-chats-mcp/simulator/replay"
)

// maxArchive keeps a clone of the repository small.
const maxArchive = 3 << 20 / 2

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: go run ./simulator/replay/pack DIR")
	}
	for _, generation := range []string{"2026-05", "2026-08"} {
		if err := pack(filepath.Join(os.Args[1], "fixtures-"+generation), filepath.Join("simulator", "testdata", "recordings-"+generation+".json.gz")); err != nil {
			log.Fatal(err)
		}
	}
}

func pack(dir, archive string) error {
	recordings, err := replay.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(recordings) == 0 {
		return fmt.Errorf("no recordings in %s", dir)
	}
	for i := range recordings {
		recordings[i] = replay.Trim(recordings[i])
	}
	if err := replay.Save(archive, recordings); err != nil {
		return err
	}
	info, err := os.Stat(archive)
	if err != nil {
		return err
	}
	if info.Size() > maxArchive {
		return fmt.Errorf("%s has %d bytes, more than %d", archive, info.Size(), maxArchive)
	}
	fmt.Printf("%s: %d recordings, %d bytes\n", archive, len(recordings), info.Size())
	return nil
}
