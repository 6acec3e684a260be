package soak

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/lab"
)

// flowing waits until all pairs have answers again, once nothing is broken, and
// what was sent before has had its time.
func (s *soak) flowing(ctx context.Context) {
	begin := time.Now()
	if len(s.outages) > 0 {
		begin = begin.Add(s.settle)
	}
	deadline := begin.Add(s.settle)
	for _, g := range s.pingers {
		for !g.alive(begin) {
			if time.Now().After(deadline) {
				s.fail("no answers: %s", g.pair)
				return
			}
			select {
			case <-ctx.Done():
				s.fail("%v", context.Cause(ctx))
				return
			case <-time.After(pingInterval):
			}
		}
	}
}

// maxResident bounds the memory of an agent, in kilobytes.
const maxResident = 100_000

// checkAgents looks at what agents say of themselves, and at their memory.
func (s *soak) checkAgents() {
	status, err := s.Status(s.t.Context())
	if err != nil {
		s.fail("%v", err)
		return
	}
	for _, h := range status.Hosts {
		log, err := os.ReadFile(filepath.Join(s.Dir, h.Name, "tuplenet.log"))
		if err != nil {
			s.fail("%v", err)
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, " level=ERROR ") {
				s.fail("the agent of %s says: %s", h.Name, strings.TrimSpace(line))
			}
		}
		out, err := os.ReadFile(filepath.Join(s.Dir, h.Name, "agent.out"))
		if err != nil || len(out) > 0 {
			s.fail("the agent of %s printed %q (%v)", h.Name, out, err)
		}
		resident, err := residentMemory(h.Agent)
		if err != nil || resident > maxResident {
			s.fail("the agent of %s has %d KB resident (%v)", h.Name, resident, err)
		}
	}
}

// residentMemory returns the resident memory of a process in kilobytes.
func residentMemory(pid int) (kb int, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, err := fmt.Sscanf(rest, "%d kB", &kb)
			return kb, err
		}
	}
	return 0, fmt.Errorf("process %d has no memory", pid)
}

// checkEnd looks at what etcd holds in the end: the ports that are to be there,
// the workloads' bound to their hosts, and all chassis.
func (s *soak) checkEnd(ctx context.Context) {
	tpctl := func(args ...string) string {
		out, err := s.Exec(ctx, "phy", append([]string{"tpctl"}, args...)...)
		if err != nil {
			s.fail("%v", err)
		}
		return out
	}
	var ports []string
	for _, sw := range []string{"LS-A", "LS-B"} {
		for line := range strings.Lines(tpctl("lsp", "show", sw)) {
			if name, ok := strings.CutSuffix(line, ":\n"); ok && !strings.HasPrefix(name, " ") && !strings.Contains(name, "_to_") {
				ports = append(ports, name)
			}
		}
	}
	want := slices.Clone(s.ports)
	for w := range s.homes {
		want = append(want, w)
	}
	slices.Sort(want)
	slices.Sort(ports)
	if !slices.Equal(ports, want) {
		s.fail("etcd has the ports %v, want %v", ports, want)
	}
	status, err := s.Status(ctx)
	if err != nil {
		s.fail("%v", err)
	}
	for _, w := range status.Workloads {
		if w.Chassis != w.Host {
			s.fail("port %s is bound to %q, and plugged in on %s", w.Port, w.Chassis, w.Host)
		}
	}
	chassis := tpctl("ch", "show")
	for _, h := range s.Spec.Hosts {
		if !strings.Contains(chassis, h.Name+":\n") {
			s.fail("etcd does not know chassis %s", h.Name)
		}
	}
}

// keepLogs copies the logs of a lab that is about to go.
func (s *soak) keepLogs() {
	if s.Lab == nil {
		return
	}
	dir, err := os.MkdirTemp("", "tuplenet-soak-")
	if err != nil {
		s.t.Log(err)
		return
	}
	var logs []string
	for _, pattern := range []string{"*/*.log", "*/*.out", "*/*/*.out", "*.log"} {
		found, _ := filepath.Glob(filepath.Join(s.Dir, pattern))
		logs = append(logs, found...)
	}
	for _, h := range s.Spec.Hosts { // while Open vSwitch is still there
		for what, argv := range map[string][]string{
			"flows": {"ovs-ofctl", "--timeout=5", "-OOpenFlow14", "dump-flows", "br-int"}, "show": {"ovs-vsctl", "--timeout=5", "list", "Interface"},
		} {
			if s.states[thing{h.Name, lab.Vswitchd}] == well && s.states[thing{h.Name, lab.OVSDB}] == well {
				out, err := s.Exec(context.Background(), h.Name, argv...)
				if err != nil {
					out += err.Error()
				}
				s.write(filepath.Join(dir, h.Name+"."+what), []byte(out))
			}
		}
	}
	for _, log := range logs {
		name, _ := filepath.Rel(s.Dir, log)
		if content, err := os.ReadFile(log); err == nil {
			s.write(filepath.Join(dir, strings.ReplaceAll(name, "/", ".")), content)
		}
	}
	s.t.Logf("the logs are in %s", dir)
}

func (s *soak) write(file string, content []byte) {
	if err := os.WriteFile(file, content, 0o644); err != nil {
		s.t.Log(err)
	}
}
