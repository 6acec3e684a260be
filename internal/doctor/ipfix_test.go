package doctor

import (
	"os"
	"path/filepath"
	"testing"
)

func TestIPFIX(t *testing.T) {
	const (
		told   = "one packet in 64 is told to 192.0.2.9:4739, with observation domain 3232235786 and point 0"
		other  = "one packet in 400 is told to 198.51.100.1:4739, with observation domain 0 and point 0"
		wanted = `{"Collectors": ["192.0.2.9:4739"], "Sampling": 64}`
		anew   = "; see the agent's log; if it does not run, start it\n"
		clear  = "ovs-vsctl clear Bridge br-int ipfix\n"
	)
	for _, tt := range []struct {
		name, settings, has string
		own                 bool
		want                string
	}{
		{"nothing", "{}", "", false, ""},
		{"an agent that has noted nothing", "", told, true, ""},
		{"as wanted", wanted, told, true, "ok  IPFIX: " + told + "\n"},
		{"missing", wanted, "", false, "BAD IPFIX: nobody is told of packets, instead of: " + told + anew},
		{"left", "{}", told, true, "BAD IPFIX: " + told + ", and nobody should be" + anew},
		{"changed", wanted, other, true, "BAD IPFIX: " + other + ", instead of: " + told + anew},
		{"in the way", wanted, other, false, "BAD IPFIX: somebody else has set that " + other + ", instead of: " + told + "; take that away: " + clear},
		{"of another", "{}", other, false, "note IPFIX: somebody else has set that " + other + "; if nobody wants that any more: " + clear},
	} {
		e := env()
		e.RunDir = t.TempDir()
		e.health.value.IPFIX, e.health.value.OwnIPFIX = tt.has, tt.own
		if tt.settings != "" {
			if err := os.WriteFile(filepath.Join(e.RunDir, "settings.json"), []byte(tt.settings), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := found(t, e, "IPFIX"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
