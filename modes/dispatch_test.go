package modes

import (
	"slices"
	"strings"
	"testing"
)

func TestDispatch(t *testing.T) {
	for _, tt := range []struct {
		argv string // separated by blanks
		cni  string // CNI_COMMAND
		mode Mode
		want []string
	}{
		{argv: "tuplenet", mode: ModeAgent, want: []string{"tuplenet"}},
		{argv: "/usr/bin/tuplenet", mode: ModeAgent, want: []string{"tuplenet"}},
		{argv: "tuplenet --interface eth0 --host 192.168.1.10:2379", mode: ModeAgent, want: []string{"tuplenet", "--interface", "eth0", "--host", "192.168.1.10:2379"}},
		{argv: "tuplenet -f eth0", mode: ModeAgent, want: []string{"tuplenet", "-f", "eth0"}},
		{argv: "tuplenet agent -f eth0", mode: ModeAgent, want: []string{"tuplenet agent", "-f", "eth0"}},
		{argv: "tuplenet gateway", mode: ModeGateway, want: []string{"tuplenet gateway"}},
		{argv: "tuplenet gateway --interface eth0", mode: ModeGateway, want: []string{"tuplenet gateway", "--interface", "eth0"}},
		{argv: "tuplenet etcd --data-dir d", mode: ModeEtcd, want: []string{"tuplenet etcd", "--data-dir", "d"}},
		{argv: "tuplenet lab up", mode: ModeLab, want: []string{"tuplenet lab", "up"}},
		{argv: "tuplenet doctor --json", mode: ModeDoctor, want: []string{"tuplenet doctor", "--json"}},
		{argv: "tuplenet cleanup --yes", mode: ModeCleanup, want: []string{"tuplenet cleanup", "--yes"}},
		{argv: "tuplenet version", mode: ModeVersion, want: []string{"tuplenet version"}},
		{argv: "tuplenet completion bash", mode: ModeCompletion, want: []string{"tuplenet completion", "bash"}},

		{argv: "tpctl ls show", mode: ModeCtl, want: []string{"tpctl", "ls", "show"}},
		{argv: "/usr/local/bin/tpctl ls show", mode: ModeCtl, want: []string{"tpctl", "ls", "show"}},
		{argv: "./tpctl", mode: ModeCtl, want: []string{"tpctl"}},
		{argv: "tuplenet ctl ls show", mode: ModeCtl, want: []string{"tuplenet ctl", "ls", "show"}},
		{argv: "tpctl agent", mode: ModeCtl, want: []string{"tpctl", "agent"}},

		{argv: "tpcnm -config c.json", mode: ModeCNM, want: []string{"tpcnm", "-config", "c.json"}},
		{argv: "tuplenet cnm", mode: ModeCNM, want: []string{"tuplenet cnm"}},

		{argv: "tpcni", mode: ModePlugin, want: []string{"tpcni"}},
		{argv: "/opt/cni/bin/tpcni", cni: "ADD", mode: ModePlugin, want: []string{"tpcni"}},
		{argv: "tuplenet", cni: "ADD", mode: ModePlugin, want: []string{"tpcni"}},
		{argv: "/opt/cni/bin/tuplenet", cni: "DEL", mode: ModePlugin, want: []string{"tpcni"}},
		{argv: "tuplenet cni install", mode: ModeCNI, want: []string{"tuplenet cni", "install"}},

		// A CNI_COMMAND that was left in the environment.
		{argv: "tuplenet agent", cni: "ADD", mode: ModeAgent, want: []string{"tuplenet agent"}},
		{argv: "tuplenet cni install", cni: "ADD", mode: ModeCNI, want: []string{"tuplenet cni", "install"}},
		{argv: "tuplenet --help", cni: "ADD", mode: ModeRoot, want: []string{"tuplenet", "--help"}},
		{argv: "tuplenet -v", cni: "ADD", mode: ModeRoot, want: []string{"tuplenet", "-v"}},
		{argv: "tuplenet --interface eth0", cni: "ADD", mode: ModeAgent, want: []string{"tuplenet", "--interface", "eth0"}},
		{argv: "tuplenet gateway", cni: "ADD", mode: ModeGateway, want: []string{"tuplenet gateway"}},
		{argv: "tuplenet ctl ls show", cni: "ADD", mode: ModeCtl, want: []string{"tuplenet ctl", "ls", "show"}},
		{argv: "tpctl ls show", cni: "ADD", mode: ModeCtl, want: []string{"tpctl", "ls", "show"}},
		{argv: "tpcnm", cni: "ADD", mode: ModeCNM, want: []string{"tpcnm"}},
		{argv: "tuplenet help", cni: "ADD", mode: ModeRoot, want: []string{"tuplenet", "help"}},
		{argv: "tuplenet agnet", cni: "ADD", mode: ModeUnknown, want: []string{"tuplenet", "agnet"}},

		{argv: "tuplenet --help", mode: ModeRoot, want: []string{"tuplenet", "--help"}},
		{argv: "tuplenet -h", mode: ModeRoot, want: []string{"tuplenet", "-h"}},
		{argv: "tuplenet --version", mode: ModeRoot, want: []string{"tuplenet", "--version"}},
		{argv: "tuplenet -v", mode: ModeRoot, want: []string{"tuplenet", "-v"}},
		{argv: "tuplenet help ctl", mode: ModeCtl, want: []string{"tuplenet ctl", "--help"}},
		{argv: "tuplenet help lab up", mode: ModeLab, want: []string{"tuplenet lab", "up", "--help"}},
		{argv: "tuplenet agent --help", mode: ModeAgent, want: []string{"tuplenet agent", "--help"}},

		{argv: "tuplenet agnet", mode: ModeUnknown, want: []string{"tuplenet", "agnet"}},
		{argv: "tuplenet cni", mode: ModeCNI, want: []string{"tuplenet cni"}},
		{argv: "tuplenet unknown", mode: ModeUnknown, want: []string{"tuplenet", "unknown"}},

		// Under any other name the binary is tuplenet.
		{argv: "/tmp/tuplenet-v2 ctl ls show", mode: ModeCtl, want: []string{"tuplenet ctl", "ls", "show"}},
		{argv: "tpctl.old", mode: ModeAgent, want: []string{"tuplenet"}},
		{argv: "", mode: ModeAgent, want: []string{"tuplenet"}},
	} {
		argv := strings.Fields(tt.argv)
		given := slices.Clone(argv)
		mode, got := Dispatch(argv, tt.cni)
		if mode != tt.mode || !slices.Equal(got, tt.want) {
			t.Errorf("Dispatch(%q, %q) = %q, %q, want %q, %q", tt.argv, tt.cni, mode, got, tt.mode, tt.want)
		}
		if !slices.Equal(argv, given) {
			t.Errorf("Dispatch(%q, %q) changed its argument to %q", tt.argv, tt.cni, argv)
		}
	}
}
