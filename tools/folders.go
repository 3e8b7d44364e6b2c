package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"coder-chats-mcp/client"
)

// folders are where a session may read and write files, symbolic links resolved: what the operator allows and the roots of the client.
type folders []string

// rootsPatience is how long a client may take to tell its roots. One that never does must not hold those who have allowed a folder.
const rootsPatience = 5 * time.Second

// folders are those of this session, for the argument that names a file. The client is asked for its roots only where what the operator allows does
// not do. The error says why there are none.
func (s *Session) folders(ctx context.Context, argument, path, instead string) (folders, error) {
	if !s.Config.Local {
		return nil, &Failure{
			Kind: string(client.KindForbidden), Message: argument + " names a file of the machine that this server runs on, and you are not on it", Next: instead,
		}
	}
	allowed := resolved(s.Config.AllowDirs)
	if !allowed.hold(path) {
		asking, cancel := context.WithTimeout(ctx, cmp.Or(s.rootsPatience, rootsPatience))
		defer cancel()
		allowed = append(allowed, resolved(s.Peer.Roots(asking))...)
	}
	if len(allowed) == 0 {
		return nil, &Failure{
			Kind: string(client.KindForbidden), Message: argument + " cannot be used: no folder is allowed",
			Next: "start this server with --allow-dir DIR, or use a client that tells its roots (the folders it works in); or " + instead,
		}
	}
	return allowed, nil
}

// resolved are those of the folders that there are.
func resolved(dirs []string) folders {
	var all folders
	for _, dir := range dirs {
		if at, err := resolve(dir); err == nil && isFolder(at) {
			all = append(all, at)
		}
	}
	return all
}

// hold says that a path, there or to be, is in one of the folders.
func (f folders) hold(path string) bool {
	if len(f) == 0 {
		return false
	}
	at := f.absolute(path)
	for _, existing := range []string{at, filepath.Dir(at)} {
		if there, err := filepath.EvalSymlinks(existing); err == nil {
			_, _, inside := f.find(there)
			return inside
		}
	}
	_, _, inside := f.find(at)
	return inside
}

func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// absolute is a path of an argument; one that is relative begins in the first folder.
func (f folders) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(f[0], path)
}

// find is the folder that a resolved path is in, and the way from there.
func (f folders) find(resolved string) (dir, rel string, ok bool) {
	for _, dir := range f {
		if rel, err := filepath.Rel(dir, resolved); err == nil && filepath.IsLocal(rel) {
			return dir, rel, true
		}
	}
	return "", "", false
}

// within opens the folder that a resolved path is in, and gives the way from there. What is opened below it cannot leave it, even where a link is
// laid after this.
func (f folders) within(resolved string) (root *os.Root, rel string, err error) {
	dir, rel, ok := f.find(resolved)
	if !ok {
		return nil, "", fs.ErrNotExist
	}
	root, err = os.OpenRoot(dir)
	return root, rel, err
}

// refuse says the same of what is missing and of what is elsewhere: whether a file or a folder exists outside is nobody's business.
func (f folders) refuse(what, path string, err error) error {
	kind, reason := client.KindForbidden, "is not in the allowed folders, or is not there"
	if !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "escapes") {
		kind, reason = client.KindInvalidArgument, "cannot be used: "+underlying(err).Error()
	}
	return &Failure{
		Kind: string(kind), Message: fmt.Sprintf("%s %q %s", what, path, reason),
		Next: "use a path in " + strings.Join(f, " or "),
	}
}

// underlying is a file error without the path, which is not the one that was asked for.
func underlying(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}

// open opens a regular file for reading.
func (f folders) open(path string) (*os.File, int64, error) {
	file, err := f.openAny(path)
	if err != nil {
		return nil, 0, f.refuse("path", path, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		_ = file.Close()
		return nil, 0, f.refuse("path", path, err)
	}
	return file, info.Size(), nil
}

func (f folders) openAny(path string) (*os.File, error) {
	resolved, err := filepath.EvalSymlinks(f.absolute(path))
	if err != nil {
		return nil, fs.ErrNotExist
	}
	root, rel, err := f.within(resolved)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would wait for its writer
}

// place is where a file is to be written.
type place struct {
	dir  *os.Root
	path string // of the folder, resolved
	name string // "" when only a folder was named
}

// place finds the folder of a file to write, or the folder itself when path is one. The caller closes dir.
func (f folders) place(path string) (place, error) {
	p, err := f.locate(path)
	if err != nil {
		return place{}, f.refuse("the folder of save_to", path, err)
	}
	return p, nil
}

func (f folders) locate(path string) (place, error) {
	absolute := f.absolute(path)
	parent, name := filepath.Dir(absolute), filepath.Base(absolute)
	switch {
	case isFolder(absolute):
		parent, name = absolute, ""
	case os.IsPathSeparator(path[len(path)-1]):
		return place{}, fs.ErrNotExist
	}
	resolved, err := filepath.EvalSymlinks(parent)
	if err != nil {
		return place{}, fs.ErrNotExist
	}
	root, rel, err := f.within(resolved)
	if err != nil {
		return place{}, err
	}
	defer func() { _ = root.Close() }()
	dir, err := root.OpenRoot(rel)
	return place{dir: dir, path: resolved, name: name}, err
}

// taken says that the place has a file already.
func (p place) taken() bool {
	_, err := p.dir.Lstat(p.name)
	return err == nil
}

var errOverlong = errors.New("it is larger than a file may be")

// write puts content there, whole or not at all, readable by its owner alone. Content of more than most bytes is errOverlong. Without overwrite a
// file that is there stays, and the error is fs.ErrExist.
func (p place) write(content io.Reader, most int64, overwrite bool) (size int64, err error) {
	temporary := ".coder-chats-mcp-" + uuid.NewString()
	file, err := p.dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = p.dir.Remove(temporary) }() // gone already when it was renamed
	size, err = io.Copy(file, io.LimitReader(content, most+1))
	if err == nil && size > most {
		err = errOverlong
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return size, err
	}
	if overwrite {
		return size, p.dir.Rename(temporary, p.name)
	}
	err = p.dir.Link(temporary, p.name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return size, err
	}
	// Not every file system has hard links: an empty file then holds the name until the rename.
	reserved, err := p.dir.OpenFile(p.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return size, err
	}
	_ = reserved.Close()
	return size, p.dir.Rename(temporary, p.name)
}
