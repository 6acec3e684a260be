package modes

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/agent"
)

// initialSampling is the sampling rate of TupleNet's agents.
const initialSampling = 64

// ipfixFlags are those of the agent that say who is told of packets.
func ipfixFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ipfix-collector", EnvVars: []string{"IPFIX_COLLECTOR"},
			Usage: "`IP:PORT` that Open vSwitch tells of packets, by IPFIX over UDP; several with commas between; without it nobody is told"},
		&cli.StringFlag{Name: "ipfix-sampling", EnvVars: []string{"IPFIX_SAMPLING_RATE"}, DefaultText: strconv.Itoa(initialSampling),
			Usage: "`N`: it tells of one packet in N, by chance"},
	}
}

// ipfixConfig reads what the ipfixFlags say.
func ipfixConfig(c *cli.Context, s *agent.Settings) error {
	s.Sampling = initialSampling
	if v := c.String("ipfix-sampling"); v != "" {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil || n == 0 {
			return fmt.Errorf("invalid --ipfix-sampling (IPFIX_SAMPLING_RATE) %q, want a number from 1, every packet, to 4294967295", v)
		}
		s.Sampling = uint32(n)
	}
	s.Collectors = nil
	v := c.String("ipfix-collector")
	if v == "" {
		return nil
	}
	for text := range strings.SplitSeq(v, ",") {
		collector, err := netip.ParseAddrPort(strings.TrimSpace(text))
		if err != nil || collector.Port() == 0 || collector.Addr().IsUnspecified() || collector.Addr().Zone() != "" {
			return fmt.Errorf("invalid --ipfix-collector (IPFIX_COLLECTOR) %q, want IP:PORT such as 192.0.2.9:4739, or several with commas between", v)
		}
		s.Collectors = append(s.Collectors, collector)
	}
	return nil
}
