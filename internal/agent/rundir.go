package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// runFiles are the files that agents, also those of earlier versions, have in
// their run directory, apart from what RestoreSysctls removes.
var runFiles = []string{"tuplenet.pid", neighbourFile, translationFile, demandFile, settingsFile, ProfileSocket}

// ProfileSocket is where an agent serves its profiles while somebody wants them, in
// the run directory (see metrics.Profiles).
const ProfileSocket = "pprof.sock"

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

// RunningIn returns the pid of the agent that holds a run directory, 0 if none
// does. It takes no lock, which could keep an agent out that is about to start.
func RunningIn(dir string) (int, error) {
	path := filepath.Join(dir, "tuplenet.pid")
	pid, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("pid file: %w", err)
	}
	var file unix.Stat_t
	if err := unix.Stat(path, &file); err != nil {
		return 0, fmt.Errorf("pid file %s: %w", path, err)
	}
	locks, err := os.ReadFile("/proc/locks") // see proc(5)
	if err != nil {
		return 0, fmt.Errorf("locks of this host: %w", err)
	}
	for line := range strings.Lines(string(locks)) {
		// 1: FLOCK ADVISORY WRITE 708 00:19:1171 0 EOF
		f := strings.Fields(line)
		if len(f) > 5 && f[1] == "FLOCK" && f[4] == strings.TrimSpace(string(pid)) && strings.HasSuffix(f[5], fmt.Sprintf(":%d", file.Ino)) {
			return strconv.Atoi(f[4])
		}
	}
	return 0, nil
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
