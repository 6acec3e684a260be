package modes

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"tuplenet/flows"
	"tuplenet/internal/agent"
)

// The bounds of BFD's intervals, in milliseconds. Shorter ones cost more than
// they bring, and with longer ones nobody waits for the end of a detection.
const minBFD, maxBFD = 10, 60000

// edgeFlags are those of the agent that concern the way to the physical
// network.
func edgeFlags() []cli.Flag {
	interval := func(name, env, value, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, EnvVars: []string{env}, Usage: usage, DefaultText: value}
	}
	return []cli.Flag{
		switchFlag("gateway", "GATEWAY", "this host is an edge, as in the mode gateway"),
		switchFlag("untunnel", "ENABLE_UNTUNNEL", "what goes to the physical network leaves by this host's own stack instead of by an edge"),
		&cli.StringFlag{Name: "hash-fn", EnvVars: []string{"HASH_FN"}, DefaultText: flows.HashIPDst.String(),
			Usage: "`FIELDS` that choose among equal routes: " + strings.Join(hashNames(), ", ")},
		interval("bfd-interval", "BFD_INTERVAL", "200", "`MS` between BFD packets, at least; an edge is given up after three"),
		interval("bfd-min-rx", "BFD_MIN_RX", "--bfd-interval", "`MS` between the BFD packets that this host receives, where that is to differ"),
		interval("bfd-min-tx", "BFD_MIN_TX", "--bfd-interval", "`MS` between those that it sends"),
	}
}

// switchFlag is a flag that the environment turns on, too, by the spellings
// that TupleNet's agents know. (The library would take others.)
func switchFlag(name, env, usage string) cli.Flag {
	return &cli.BoolFlag{Name: name, Usage: fmt.Sprintf("%s [$%s]", usage, env), DisableDefaultText: true}
}

// switchedOn returns what a switchFlag says.
func switchedOn(c *cli.Context, name, env string) (bool, error) {
	if c.IsSet(name) {
		return c.Bool(name), nil
	}
	switch v := os.Getenv(env); v {
	case "", "0":
		return false, nil
	case "1":
		return true, nil
	default:
		return false, fmt.Errorf("invalid %s=%q, want 1 for on, 0 or nothing for off", env, v)
	}
}

// notSwitchedOff is switchedOn for what is on by default.
func notSwitchedOff(c *cli.Context, name, env string) (bool, error) {
	if !c.IsSet(name) && os.Getenv(env) == "" {
		return true, nil
	}
	return switchedOn(c, name, env)
}

// edgeConfig returns what the edgeFlags say.
func edgeConfig(c *cli.Context) (cfg agent.Config, err error) {
	if cfg.Gateway, err = switchedOn(c, "gateway", "GATEWAY"); err != nil {
		return cfg, err
	}
	if cfg.Untunnel, err = switchedOn(c, "untunnel", "ENABLE_UNTUNNEL"); err != nil {
		return cfg, err
	}
	cfg.Hash = cmp.Or(c.String("hash-fn"), flows.HashIPDst.String())
	if _, ok := flows.Hashes[cfg.Hash]; !ok {
		return cfg, fmt.Errorf("invalid --hash-fn (HASH_FN) %q, want one of %s", cfg.Hash, strings.Join(hashNames(), ", "))
	}
	both, err := bfdInterval(c, "bfd-interval", "BFD_INTERVAL", 200)
	if err != nil {
		return cfg, err
	}
	if cfg.BFDMinRx, err = bfdInterval(c, "bfd-min-rx", "BFD_MIN_RX", both); err != nil {
		return cfg, err
	}
	cfg.BFDMinTx, err = bfdInterval(c, "bfd-min-tx", "BFD_MIN_TX", both)
	return cfg, err
}

func hashNames() []string { return slices.Sorted(maps.Keys(flows.Hashes)) }

// bfdInterval returns an interval in milliseconds.
func bfdInterval(c *cli.Context, name, env string, initial int) (int, error) {
	v := c.String(name)
	if v == "" {
		return initial, nil
	}
	ms, err := strconv.Atoi(v)
	if err != nil || ms < minBFD || ms > maxBFD {
		return 0, fmt.Errorf("invalid --%s (%s) %q, want milliseconds from %d to %d", name, env, v, minBFD, maxBFD)
	}
	return ms, nil
}
