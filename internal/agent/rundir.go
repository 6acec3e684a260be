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
var runFiles = []string{"tuplenet.pid", neighbourFile, translationFile}

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
		// A pid of an agent that was killed may be somebody else's by now, and
		// one that starts would tell it to stop.
		err = f.Truncate(0)
	}
	if err == nil {
		return &PidFile{f}, nil
	}
	f.Close()
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	how := "what has started it can stop it, such as systemctl stop tuplenet"
	if pid := readPid(path); pid > 0 {
		how += fmt.Sprintf(", or kill %d", pid)
	}
	return nil, fmt.Errorf("an agent runs in %s; stop it first (%s)", dir, how)
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
