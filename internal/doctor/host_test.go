package doctor

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/agent"
	"tuplenet/internal/ovs"
	"tuplenet/internal/ovs/ovstest"
)

func TestAgent(t *testing.T) {
	e := &Env{RunDir: t.TempDir()}
	if got := found(t, "agent", e); !strings.HasPrefix(got, "BAD agent: none holds the run directory "+e.RunDir) {
		t.Errorf("without an agent it says %q", got)
	}
	running, err := agent.TakeRunDir(t.Context(), e.RunDir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fmt.Sprintf("ok  agent: runs with pid %d in %s\n", os.Getpid(), e.RunDir), found(t, "agent", e)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	running.Release()
	if got := found(t, "agent", e); !strings.HasPrefix(got, "BAD") {
		t.Errorf("after the agent it says %q", got)
	}
}

func TestOpenVSwitch(t *testing.T) {
	away := &Env{OVS: ovs.Config{RunDir: t.TempDir()}}
	if got := found(t, "Open vSwitch", away); !strings.HasPrefix(got, "BAD Open vSwitch: ") || !strings.Contains(got, "; start Open vSwitch") {
		t.Errorf("without Open vSwitch it says %q", got)
	}
	if got := found(t, "flows", away); got != "" {
		t.Errorf("of the flows of an Open vSwitch that is away it says %q", got)
	}

	o := ovstest.Start(t)
	says := func(want string) {
		t.Helper()
		e := &Env{OVS: ovs.Config{RunDir: o.RunDir()}}
		if diff := cmp.Diff(want, found(t, "Open vSwitch", e)+found(t, "flows", e)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	says("BAD Open vSwitch: answers, and has no integration bridge br-int; start the agent, which makes it\n")
	o.Vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail_mode=secure")
	const there = "ok  Open vSwitch: answers; its system-id is hv-test, and br-int is there\n"
	o.Ofctl("add-flow", "br-int", "cookie=0x1,priority=2,actions=drop") // of others
	says(there + "BAD flows: br-int holds none of TupleNet's, so that no workload here is reached; start the agent, or see its log if it runs\n")
	o.Ofctl("add-flow", "br-int", "cookie=0x7e70000000000001,priority=1,actions=drop")
	says(there + "ok  flows: br-int holds 1 of TupleNet's\n")
	o.Vsctl("remove", "Open_vSwitch", ".", "external_ids", "system-id")
	says("BAD Open vSwitch: has no system-id, so that this host has no name; give it one: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME\n" +
		"ok  flows: br-int holds 1 of TupleNet's\n")
}
