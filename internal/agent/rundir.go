package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// runFiles are the files that agents, also those of earlier versions, have in
// their run directory, apart from what RestoreSysctls removes.
var runFiles = []string{"tuplenet.pid", "mac_ip_bind.data"}

// HoldRunDir keeps agents out of a run directory until Release, without making
// this process its agent. It fails if one is running there. Where there has
// never been one it returns nil.
func HoldRunDir(dir string) (*PidFile, error) {
	path := filepath.Join(dir, "tuplenet.pid")
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return &PidFile{f}, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		pid := readPid(path)
		return nil, fmt.Errorf("an agent runs in %s with pid %d; stop it first: have its supervisor stop it (systemctl stop tuplenet), or kill %[2]d", dir, pid)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// RunFiles returns the paths of what agents have left in a run directory.
func RunFiles(dir string) []string {
	var left []string
	for _, path := range append([]string{keptPath(dir)}, runPaths(dir)...) {
		if _, err := os.Lstat(path); err == nil {
			left = append(left, path)
		}
	}
	return left
}

// RemoveRunFiles removes what agents have left in a run directory, but not what
// RestoreSysctls needs, and the directory if nothing else is in it. The caller
// holds the directory, see HoldRunDir.
func RemoveRunFiles(dir string) error {
	var problems []error
	for _, path := range runPaths(dir) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, fmt.Errorf("run directory: %w", err))
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
		problems = append(problems, fmt.Errorf("run directory: %w", err))
	}
	return errors.Join(problems...)
}

func runPaths(dir string) []string {
	paths := make([]string, len(runFiles))
	for n, name := range runFiles {
		paths[n] = filepath.Join(dir, name)
	}
	return paths
}
