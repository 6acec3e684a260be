package cnm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialPatience bounds how long the owner of a socket may take to show that there
// is one.
const dialPatience = 2 * time.Second

// socket is a listener whose file goes with it, unless another has taken its place.
type socket struct {
	*net.UnixListener
	path  string
	made  fs.FileInfo
	close func() error
}

// Listen makes the socket that Docker finds the plugin at, for root alone, with
// its directory if that is missing. One that nobody listens to any more is
// replaced, a living one is not: it is an error.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of the plugin's socket: %w", err)
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := clearSocket(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen at the plugin's socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	s := &socket{UnixListener: l, path: path}
	s.close = sync.OnceValue(s.end)
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("keep the plugin's socket for root: %w", err)
	}
	if s.made, err = os.Lstat(path); err != nil {
		l.Close()
		return nil, fmt.Errorf("look at the plugin's socket: %w", err)
	}
	return s, nil
}

// lockDir keeps other plugins that begin or end at the same moment out of a
// directory: else two could find one stale socket, and the second remove what the
// first has made in its place. The lock goes with its holder, and leaves nothing.
func lockDir(dir string) (unlock func(), err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.Flock(fd, unix.LOCK_EX)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("lock %s, where the plugin's socket is: %w", dir, err)
	}
	return func() { _ = unix.Close(fd) }, nil
}

// clearSocket removes a socket that nobody listens to.
func clearSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at the plugin's socket: %w", err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is there, and no socket: remove it, or name another \"socket\" in the configuration", path)
	}
	conn, err := net.DialTimeout("unix", path, dialPatience)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("a plugin serves %s already: stop it (systemctl stop tuplenet-cnm, or see ss -xlp), or give this one another \"socket\" in the configuration", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket that a plugin has left: %w", err)
	}
	return nil
}

// Close implements net.Listener.
func (s *socket) Close() error { return s.close() }

// end removes the socket's file and stops listening. While the socket is open no
// other file can be taken for its own.
func (s *socket) end() error {
	var removing error
	if unlock, err := lockDir(filepath.Dir(s.path)); err == nil {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
			removing = os.Remove(s.path)
		}
		unlock()
	}
	return errors.Join(removing, s.UnixListener.Close())
}

// Where Docker looks for plugins that it does not run itself: for their sockets,
// and for files that name these.
var (
	pluginDirs = []string{"/run/docker/plugins", "/var/run/docker/plugins"}
	specDirs   = []string{"/etc/docker/plugins", "/usr/lib/docker/plugins"}
)

// foundBy returns the file by which Docker finds the plugin at a socket, whose name
// is the driver's; empty: Docker does not find it.
func foundBy(socket string) string {
	if slices.Contains(pluginDirs, filepath.Dir(socket)) {
		return socket
	}
	for _, dir := range specDirs {
		for _, pattern := range []string{"*.spec", "*/*.spec", "*.json", "*/*.json"} {
			files, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is a good one
			for _, file := range files {
				text, _ := os.ReadFile(file) // what this one may not read leads nowhere
				at := strings.TrimSpace(string(text))
				var spec struct{ Addr string }
				if json.Unmarshal(text, &spec) == nil {
					at = spec.Addr
				}
				if at == "unix://"+socket {
					return file
				}
			}
		}
	}
	return ""
}

// leadDocker says how Docker is led to a socket that it does not look for.
func leadDocker(socket string) string {
	return fmt.Sprintf("leave \"socket\" out, or lead Docker there: echo unix://%s >%s/tuplenet.spec", socket, specDirs[0])
}
