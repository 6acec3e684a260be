package doctor

import (
	"context"

	"tuplenet/internal/agent"
)

// checkIPFIX tells whether Open vSwitch tells the collectors of packets that the
// agent has in its settings. What cannot be known of the agent is for the check of flows.
func checkIPFIX(ctx context.Context, env *Env) []Finding {
	h, err := env.examined(ctx)
	if err != nil || h.Bridge == "" {
		return nil
	}
	settings, err := agent.ReadSettings(env.RunDir)
	if err != nil || !env.TunnelIP.IsValid() {
		return nil
	}
	wanted := settings.IPFIX(env.TunnelIP).String()
	const anew = "see the agent's log; if it does not run, start it"
	clear := "ovs-vsctl clear Bridge " + h.Bridge + " ipfix"
	switch {
	case wanted == h.IPFIX && wanted == "":
		return nil
	case wanted == h.IPFIX:
		return []Finding{good("", "%s", wanted)}
	case h.IPFIX == "":
		return []Finding{bad("", "nobody is told of packets, instead of: "+wanted, anew)}
	case h.OwnIPFIX && wanted == "":
		return []Finding{bad("", h.IPFIX+", and nobody should be", anew)}
	case h.OwnIPFIX:
		return []Finding{bad("", h.IPFIX+", instead of: "+wanted, anew)}
	case wanted == "":
		return []Finding{note("", "somebody else has set that "+h.IPFIX, "if nobody wants that any more: "+clear)}
	}
	return []Finding{bad("", "somebody else has set that "+h.IPFIX+", instead of: "+wanted, "take that away: "+clear)}
}
