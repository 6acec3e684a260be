package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkOnDemand measures a node on demand in a large topology: its flows,
// its start with what traffic went to before, its memory, and beside that the
// memory of a node with all flows.
func BenchmarkOnDemand(b *testing.B) {
	s := newSite(b, Plain)
	s.writeDemands()
	cmd, _ := s.agent() // makes the tunnel ports
	s.settled()
	s.stop(cmd)

	conn := s.dial()
	defer conn.Close()
	var start, read []time.Duration
	for range 7 {
		begin := time.Now()
		s.readSnapshot()
		read = append(read, time.Since(begin))

		s.ovs.Ofctl("del-flows", "br-int")
		cmd, took := s.agent()
		start = append(start, took)
		if n := s.count(conn); n != len(s.flows) {
			b.Errorf("the agent said that all flows are in, and the bridge has %d of %d", n, len(s.flows))
		}
		s.stop(cmd)
	}
	total, etcd := median(start), median(read)
	what := fmt.Sprintf("on demand at 20,000 ports, %d local, traffic to %d: ", Plain.Local, Plain.Demands)
	report(b, what+"flows in the bridge", fmt.Sprint(len(s.flows)), "3,000", len(s.flows) < 3000)
	report(b, what+"agent start until its flows are in, beyond reading etcd",
		fmt.Sprintf("%.2f s: %.2f s, of which %.2f s read etcd", (total-etcd).Seconds(), total.Seconds(), etcd.Seconds()), "0.3 s", total-etcd < 300*time.Millisecond)
	b.ReportMetric((total - etcd).Seconds(), "s/start")

	cmd, _ = s.agent()
	defer func() { s.stop(cmd) }()
	s.settled()
	reportMemory(b, cmd, "on demand")
}

// reportMemory tells how much memory an agent has that has run for a while.
func reportMemory(b *testing.B, cmd *exec.Cmd, how string) {
	b.Helper()
	time.Sleep(2 * time.Second) // until it has taken in the tunnel ports
	mb := resident(b, cmd.Process.Pid)
	report(b, "agent memory at 20,000 ports, "+how, fmt.Sprintf("%d MB resident", mb), "120 MB", mb <= 120)
}

// writeDemands leaves in the run directory what an agent leaves there.
func (s *site) writeDemands() {
	s.b.Helper()
	var lines strings.Builder
	for i := range s.size.Demands {
		d := s.size.Demand(i)
		fmt.Fprintf(&lines, "%s/%s\n", d.Switch, d.Port)
	}
	if err := os.MkdirAll(s.runDir(), 0o755); err != nil {
		s.b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.runDir(), "on_demand.data"), []byte(lines.String()), 0o644); err != nil {
		s.b.Fatal(err)
	}
}
