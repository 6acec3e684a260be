package modes

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/agent"
)

// parseEdge returns what a command line and an environment, both separated by
// blanks, say of the way to the physical network.
func parseEdge(t *testing.T, args, environment string) (cfg agent.Config, err error) {
	t.Helper()
	for _, name := range []string{"GATEWAY", "ENABLE_UNTUNNEL", "HASH_FN", "BFD_INTERVAL", "BFD_MIN_RX", "BFD_MIN_TX"} {
		t.Setenv(name, "")
	}
	for setting := range strings.FieldsSeq(environment) {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	app := &cli.App{Flags: edgeFlags(), Action: func(c *cli.Context) error {
		cfg, err = edgeConfig(c)
		return nil
	}}
	if err := app.Run(append([]string{"tuplenet"}, strings.Fields(args)...)); err != nil {
		t.Fatal(err)
	}
	return cfg, err
}

func TestEdgeFlags(t *testing.T) {
	for _, tt := range []struct {
		args, env string
		want      agent.Config
	}{
		{"", "", agent.Config{Settings: agent.Settings{Hash: "nw_dst", BFDMinRx: 200, BFDMinTx: 200}}},
		{"", "GATEWAY=0 ENABLE_UNTUNNEL=0", agent.Config{Settings: agent.Settings{Hash: "nw_dst", BFDMinRx: 200, BFDMinTx: 200}}},
		{"", "GATEWAY=1 ENABLE_UNTUNNEL=1 HASH_FN=symmetric_l3l4+udp BFD_INTERVAL=50",
			agent.Config{Gateway: true, Settings: agent.Settings{Untunnel: true, Hash: "symmetric_l3l4+udp", BFDMinRx: 50, BFDMinTx: 50}}},
		{"--gateway --untunnel --hash-fn eth_src --bfd-interval 100", "HASH_FN=nw_src BFD_INTERVAL=50",
			agent.Config{Gateway: true, Settings: agent.Settings{Untunnel: true, Hash: "eth_src", BFDMinRx: 100, BFDMinTx: 100}}},
		{"--gateway=false", "GATEWAY=1", agent.Config{Settings: agent.Settings{Hash: "nw_dst", BFDMinRx: 200, BFDMinTx: 200}}},
		{"--bfd-min-rx 10", "BFD_MIN_TX=60000", agent.Config{Settings: agent.Settings{Hash: "nw_dst", BFDMinRx: 10, BFDMinTx: 60000}}},
		{"--bfd-interval 1000 --bfd-min-tx 300", "", agent.Config{Settings: agent.Settings{Hash: "nw_dst", BFDMinRx: 1000, BFDMinTx: 300}}},
	} {
		got, err := parseEdge(t, tt.args, tt.env)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q with %q: %+v, %v, want %+v", tt.args, tt.env, got, err, tt.want)
		}
	}
}

func TestEdgeFlagsRefused(t *testing.T) {
	for _, tt := range []struct{ args, env, want string }{
		{"", "GATEWAY=yes", `invalid GATEWAY="yes", want 1 for on, 0 or nothing for off`},
		{"", "ENABLE_UNTUNNEL=true", `invalid ENABLE_UNTUNNEL="true", want 1 for on, 0 or nothing for off`},
		{"--hash-fn l4", "", `invalid --hash-fn (HASH_FN) "l4", want one of eth_src, nw_dst, nw_src, symmetric_l3l4, symmetric_l3l4+udp, symmetric_l4`},
		{"", "BFD_INTERVAL=9", `invalid --bfd-interval (BFD_INTERVAL) "9", want milliseconds from 10 to 60000`},
		{"--bfd-min-rx 60001", "", `invalid --bfd-min-rx (BFD_MIN_RX) "60001", want milliseconds from 10 to 60000`},
		{"--bfd-min-tx 1s", "", `invalid --bfd-min-tx (BFD_MIN_TX) "1s", want milliseconds from 10 to 60000`},
	} {
		if _, err := parseEdge(t, tt.args, tt.env); err == nil || err.Error() != tt.want {
			t.Errorf("%q with %q: %v, want %s", tt.args, tt.env, err, tt.want)
		}
	}
}

func TestIdleSettings(t *testing.T) {
	for _, tt := range []struct {
		gateway  bool
		onDemand string
		want     []string
	}{
		{false, "1", nil},
		{true, "", nil},
		{true, "0", nil},
		{true, "1", []string{"ONDEMAND=1"}},
	} {
		t.Setenv("ONDEMAND", tt.onDemand)
		if got := slices.Sorted(maps.Keys(idleSettings(tt.gateway))); !slices.Equal(got, tt.want) {
			t.Errorf("gateway %v, ONDEMAND=%s: %q have no effect, want %q", tt.gateway, tt.onDemand, got, tt.want)
		}
	}
}
