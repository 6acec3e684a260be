package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// process is one run of a program. The time of its start tells it from a later
// process with the same number.
type process struct {
	pid   int
	start uint64 // clock ticks after boot, field 22 of proc(5)'s stat
}

// findProcess returns the process that has a number now. One that has ended
// and waits for its parent does not count.
func findProcess(pid int) (process, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	state, start, err := parseStat(string(stat))
	if err != nil || state == 'Z' || state == 'X' {
		return process{}, false
	}
	return process{pid, start}, true
}

// parseStat takes the state and the time of the start out of /proc/PID/stat.
// The second field is the program's name in parentheses and may hold anything.
func parseStat(stat string) (state byte, start uint64, err error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const first = 3 // the number of fields[0] in proc(5)
	if len(fields) <= 22-first {
		return 0, 0, fmt.Errorf("%d fields behind the name are too few", len(fields))
	}
	start, err = strconv.ParseUint(fields[22-first], 10, 64)
	return fields[0][0], start, err
}

// alive reports whether this very process still runs.
func (p process) alive() bool {
	now, ok := findProcess(p.pid)
	return ok && now == p
}

// hangs reports whether the process was stopped with SIGSTOP.
func (p process) hangs() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return false
	}
	state, start, err := parseStat(string(stat))
	return err == nil && start == p.start && state == 'T'
}

// signal sends a signal to this very process. That it has ended is no error.
func (p process) signal(sig syscall.Signal) error {
	// The handle is bound to whatever has the number now; the check comes
	// after it, so that the signal cannot hit a successor.
	handle, err := os.FindProcess(p.pid)
	if err != nil {
		return fmt.Errorf("process %d: %w", p.pid, err)
	}
	defer handle.Release()
	if !p.alive() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to process %d: %w", sig, p.pid, err)
	}
	return nil
}

// save records the process in a file.
func (p process) save(file string) error {
	return os.WriteFile(file, fmt.Appendf(nil, "%d %d\n", p.pid, p.start), 0o644)
}

// loadProcess returns the process recorded in a file, if it still runs.
func loadProcess(file string) (process, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return process{}, false
	}
	var p process
	if _, err := fmt.Sscanf(string(data), "%d %d\n", &p.pid, &p.start); err != nil {
		return process{}, false
	}
	return p, p.alive()
}

// processesIn returns the processes in any of the named network namespaces.
func processesIn(namespaces []string) ([]process, error) {
	var wanted []fs.FileInfo
	for _, ns := range namespaces {
		info, err := os.Stat(filepath.Join(netnsDir, ns))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("look at namespace %s: %w", ns, err)
		}
		wanted = append(wanted, info)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, dir := range dirs {
		info, err := os.Stat(dir + "/ns/net")
		if err != nil {
			continue // it ended meanwhile
		}
		for _, w := range wanted {
			if !os.SameFile(info, w) {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
				if p, ok := findProcess(pid); ok {
					found = append(found, p)
				}
			}
		}
	}
	return found, nil
}
