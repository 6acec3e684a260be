package modes

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/agent"
)

// parseIPFIX returns what a command line and an environment, both separated by
// blanks, say of whom to tell of packets.
func parseIPFIX(t *testing.T, args, environment string) (s agent.Settings, err error) {
	t.Helper()
	t.Setenv("IPFIX_COLLECTOR", "")
	t.Setenv("IPFIX_SAMPLING_RATE", "")
	for setting := range strings.FieldsSeq(environment) {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	app := &cli.App{Flags: ipfixFlags(), Action: func(c *cli.Context) error {
		err = ipfixConfig(c, &s)
		return nil
	}}
	if err := app.Run(append([]string{"tuplenet"}, strings.Fields(args)...)); err != nil {
		t.Fatal(err)
	}
	return s, err
}

func TestIPFIXFlags(t *testing.T) {
	one, two := netip.MustParseAddrPort("192.0.2.9:4739"), netip.MustParseAddrPort("[2001:db8::9]:2055")
	for _, tt := range []struct {
		args, env string
		want      agent.Settings
	}{
		{"", "", agent.Settings{Sampling: 64}},
		{"", "IPFIX_COLLECTOR=192.0.2.9:4739", agent.Settings{Collectors: []netip.AddrPort{one}, Sampling: 64}},
		{"", "IPFIX_COLLECTOR=192.0.2.9:4739,[2001:db8::9]:2055 IPFIX_SAMPLING_RATE=1", agent.Settings{Collectors: []netip.AddrPort{one, two}, Sampling: 1}},
		{"--ipfix-collector [2001:db8::9]:2055 --ipfix-sampling 4294967295", "IPFIX_COLLECTOR=192.0.2.9:4739 IPFIX_SAMPLING_RATE=2",
			agent.Settings{Collectors: []netip.AddrPort{two}, Sampling: 4294967295}},
		{"--ipfix-collector=", "IPFIX_COLLECTOR=192.0.2.9:4739", agent.Settings{Sampling: 64}},
	} {
		got, err := parseIPFIX(t, tt.args, tt.env)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q with %q: %+v, %v, want %+v", tt.args, tt.env, got, err, tt.want)
		}
	}
}

func TestIPFIXFlagsRefused(t *testing.T) {
	for _, v := range []string{"192.0.2.9", "192.0.2.9:0", "192.0.2.9:65536", "0.0.0.0:4739", "collector:4739", "[fe80::9%eth0]:4739", "192.0.2.9:4739,", "udp://192.0.2.9:4739", "0"} {
		want := `invalid --ipfix-collector (IPFIX_COLLECTOR) "` + v + `", want IP:PORT such as 192.0.2.9:4739, or several with commas between`
		if _, err := parseIPFIX(t, "", "IPFIX_COLLECTOR="+v); err == nil || err.Error() != want {
			t.Errorf("collector %s: %v, want %s", v, err, want)
		}
	}
	for _, v := range []string{"0", "-1", "1.5", "4294967296", "1/64"} {
		want := `invalid --ipfix-sampling (IPFIX_SAMPLING_RATE) "` + v + `", want a number from 1, every packet, to 4294967295`
		if _, err := parseIPFIX(t, "", "IPFIX_SAMPLING_RATE="+v); err == nil || err.Error() != want {
			t.Errorf("sampling %s: %v, want %s", v, err, want)
		}
	}
}
