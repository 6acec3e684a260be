package modes

import (
	"bytes"
	"strings"
	"testing"

	"tuplenet/internal/ovs/ovstest"
)

// TestAgentThatCannotStart: it leaves no traffic held that the last one held.
func TestAgentThatCannotStart(t *testing.T) {
	o := ovstest.Start(t)
	o.StopVswitchd()
	o.Vsctl("set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true", "external_ids:tuplenet-restore=true")
	var stdout, stderr bytes.Buffer
	status := Run([]string{"tuplenet", "agent", "--interface", "nosuch0", "--rundir", t.TempDir(), "--ovs-rundir", o.RunDir()}, "",
		strings.NewReader(""), &stdout, &stderr)
	if status != 1 || !strings.Contains(stderr.String(), "nosuch0") {
		t.Errorf("status %d, standard error %q", status, &stderr)
	}
	if got := o.Vsctl("get", "Open_vSwitch", ".", "other_config", "external_ids"); got != "{}\n{system-id=hv-test}" {
		t.Errorf("the next ovs-vswitchd finds %s", got)
	}
}
