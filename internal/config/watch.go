package config

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Watch returns a channel that tells, until ctx ends, that the file at path may say
// something else. The directory has to be there, the file need not. Several changes
// may be one.
//
// It speaks inotify(7) itself, as libraries do not tell when a writer has closed a
// file: who reads it earlier takes half of it for all.
func Watch(ctx context.Context, path string, log *slog.Logger) (<-chan struct{}, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	w := &watcher{fd: fd, file: os.NewFile(uintptr(fd), "inotify"), path: path, changed: make(chan struct{}, 1), log: log}
	if err := w.follow(); err != nil {
		w.file.Close()
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	context.AfterFunc(ctx, func() { w.file.Close() })
	go w.run() // ends with the file
	return w.changed, nil
}

// watcher is a Watch under way.
type watcher struct {
	fd      int
	file    *os.File // of fd
	path    string
	names   []string // whose changes count; nil for all, see follow
	changed chan struct{}
	log     *slog.Logger
}

// Editors replace a file by another of its name, so that the directory is watched and
// not the file.
const fileEvents = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_ONLYDIR

// follow watches the directory of the file and, where the file is a link, that of what
// it leads to. What a link leads to may change by changes of other names, as in a
// volume of Kubernetes.
func (w *watcher) follow() error {
	w.names = []string{filepath.Base(w.path)}
	if _, err := unix.InotifyAddWatch(w.fd, filepath.Dir(w.path), fileEvents); err != nil {
		return fmt.Errorf("%s: %w", filepath.Dir(w.path), err)
	}
	target, err := filepath.EvalSymlinks(w.path)
	if info, failed := os.Lstat(w.path); failed == nil && info.Mode()&os.ModeSymlink != 0 {
		w.names = nil
		if err == nil {
			_, err = unix.InotifyAddWatch(w.fd, filepath.Dir(target), fileEvents)
			return err
		}
	}
	return nil
}

// run reads events until the file is closed.
func (w *watcher) run() {
	buffer := make([]byte, 16*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		n, err := w.file.Read(buffer)
		if err != nil {
			return
		}
		if !w.concerns(buffer[:n]) {
			continue
		}
		if err := w.follow(); err != nil {
			w.log.Warn("changes of the configuration are not noticed any more; SIGHUP has it read", "file", w.path, "error", err)
		}
		select {
		case w.changed <- struct{}{}:
		default: // nobody has looked since the last one
		}
	}
}

// concerns reports whether one of the events in buffer concerns the file.
func (w *watcher) concerns(buffer []byte) (yes bool) {
	for len(buffer) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(buffer[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buffer[12:]))
		name := strings.TrimRight(string(buffer[unix.SizeofInotifyEvent:end]), "\x00")
		buffer = buffer[end:]
		lost := mask&(unix.IN_Q_OVERFLOW|unix.IN_IGNORED) != 0
		yes = yes || lost || w.names == nil || slices.Contains(w.names, name)
	}
	return yes
}
