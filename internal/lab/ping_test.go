package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestParsePing(t *testing.T) {
	t.Parallel()
	const summary = "\n--- 192.168.1.50 ping statistics ---\n2 packets transmitted, 2 received, 0% packet loss, time 1004ms\n" +
		"rtt min/avg/max/mdev = 0.553/0.590/0.628/0.037 ms\n"
	for name, tt := range map[string]struct{ out, wrong string }{
		"answered": {"64 bytes from 192.168.1.50: icmp_seq=1 ttl=62 time=0.628 ms\n" + summary, ""},
		"by another": {"64 bytes from 192.168.1.50: icmp_seq=1 ttl=62 time=0.628 ms\n" +
			"64 bytes from 10.20.1.10: icmp_seq=2 ttl=62 time=0.553 ms (DIFFERENT ADDRESS!)\n" + summary, "10.20.1.10 answered instead of 192.168.1.50"},
		"no summary": {"ping: connect: Network is unreachable\n", "printed no summary"},
	} {
		p := Pings{From: "client", To: "192.168.1.50", Address: netip.MustParseAddr("192.168.1.50")}
		err := p.parse(tt.out)
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%s: error %v, want %q in it", name, err, tt.wrong)
			}
			continue
		}
		if err != nil || p.Sent != 2 || p.Lost() != 0 || p.Min != 553*time.Microsecond || p.Max != 628*time.Microsecond {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
