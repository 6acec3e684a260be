package cnm

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// socketPath returns where a socket can be made, in a directory that is missing.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cnm") // shorter than TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "docker", "plugins", "tuplenet.sock")
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestListen(t *testing.T) {
	path := socketPath(t)
	l := listen(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket is %v (%v), want one for root alone", info, err)
	}
	_, err := Listen(path)
	wantError(t, err, path, "already", "another \"socket\"")
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("its owner has lost the socket: %v", err)
	} else {
		conn.Close()
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if exists(path) {
		t.Error("the socket is left behind")
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) > 0 {
		t.Errorf("%v is left behind (%v)", entries, err)
	}
}

func TestListenInPlaceOfStale(t *testing.T) {
	path := socketPath(t)
	listen(t, path).(*socket).UnixListener.Close() // as when the process is killed
	if !exists(path) {
		t.Fatal("there is no stale socket")
	}
	listen(t, path)
}

// Who goes does not take the socket of who came after it along.
func TestSocketThatWasReplaced(t *testing.T) {
	path := socketPath(t)
	old := listen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	listen(t, path)
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("nobody listens there: %v", err)
	} else {
		conn.Close()
	}
}

func TestListenInPlaceOfFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tuplenet.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Listen(path)
	wantError(t, err, path, "no socket: remove it")
	_, err = Listen(filepath.Join(path, "tuplenet.sock"))
	wantError(t, err, "directory of the plugin's socket", path)
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q (%v)", text, err)
	}
}

// Of several plugins that start at one moment one has the socket, whatever was
// left there.
func TestListenAtOnce(t *testing.T) {
	for range 20 {
		path := socketPath(t)
		listen(t, path).(*socket).UnixListener.Close()
		var all sync.WaitGroup
		won := make(chan net.Listener, 8)
		for range cap(won) {
			all.Go(func() {
				if l, err := Listen(path); err == nil {
					won <- l
				}
			})
		}
		all.Wait()
		close(won)
		if len(won) != 1 {
			t.Errorf("%d plugins have the socket", len(won))
		}
		for l := range won {
			if conn, err := net.Dial("unix", path); err != nil {
				t.Errorf("nobody listens there: %v", err)
			} else {
				conn.Close()
			}
			l.Close()
		}
	}
}

// Docker finds a socket in its directory, or by a file that names it.
func TestFoundBy(t *testing.T) {
	const path = "/run/elsewhere/tuplenet.sock"
	dir := t.TempDir()
	was := specDirs
	specDirs = []string{filepath.Join(dir, "none"), dir}
	defer func() { specDirs = was }()
	if found := foundBy("/run/docker/plugins/tuplenet.sock"); found != "/run/docker/plugins/tuplenet.sock" {
		t.Errorf("its own directory is not where Docker finds %q", found)
	}
	for name, text := range map[string]string{"other.spec": "unix://" + path + "2", "tcp.json": `{"Addr": "https://example.com"}`, "broken.json": "{", "text.txt": "unix://" + path} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found := foundBy(path); found != "" {
		t.Errorf("Docker finds it by %q", found)
	}
	for name, text := range map[string]string{"tp.spec": "unix://" + path + "\n", "tp.json": `{"Name": "tp", "Addr": "unix://` + path + `"}`, "tp/tp.spec": "unix://" + path} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if found := foundBy(path); found != file {
			t.Errorf("Docker finds it by %q, want %s", found, file)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}
