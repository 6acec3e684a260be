package flows

// Floating IPs: one internal and one external address, translated packet by
// packet, so that any number of edges can do it.

// prioFloating is before all other translations.
const prioFloating = 400

// notMended matches what the agent has not had yet.
var notMended = Masked(RegEntry, 0, 1<<BitsMended.Ofs)

// mend has the agent translate the packet that an ICMP error quotes.
var mend = []Action{LimitTo{MeterErrors}, Punt{QuotedAddress}}

// floatingInside rewrites the destination of what comes to a floating IP.
func floatingInside(n nat) []Flow {
	out := []Flow{{TableRouterLocal, prioFloating, n.address(), []Action{
		Load{All(IPDst), ipv4(n.Net.Addr())}, Load{bitsTranslated, 1}, Goto{TableRouterRoute},
	}}}
	for _, typ := range icmpErrors {
		out = append(out, Flow{TableRouterLocal, prioFloating + 1, where(n.address(), append(icmpError(typ), notMended)...), mend})
	}
	return out
}

// floatingOutside rewrites the source of what a floating IP's owner sends.
func floatingOutside(n nat) []Flow {
	rewrite := Load{All(IPSrc), ipv4(n.XlateIP)}
	out := []Flow{{TableRouterNAT, prioFloating, where(n.source(), backInside), []Action{rewrite, Goto{TableRouterForward}}}}
	for _, e := range n.exits {
		out = append(out, Flow{TableRouterNAT, prioFloating + 1, where(n.source(), e.leaving()),
			append([]Action{rewrite}, enterSwitch(e.sp, e.sw, n.mac(e))...)})
		// Whoever sends it, it may be about a packet to the floating IP.
		for _, typ := range icmpErrors {
			out = append(out, Flow{TableRouterNAT, prioFloating + 2,
				where(n.in(e.leaving()), append(icmpError(typ), notMended)...), mend})
		}
	}
	return out
}
