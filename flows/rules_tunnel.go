package flows

import "tuplenet/internal/topology"

// What comes out of a tunnel is taken from chassis that have a record, and from
// nobody else: a frame names the switch and the port that it is for, and who is
// no chassis must not say such things. The ports of the tunnels do not see to
// it, as the one of a node on demand takes frames from everywhere (UDP has no
// handshake, so that an underlay that lets through forged source addresses
// makes a chassis of anybody: docs/security.md).
//
//	a chassis' address ──▶ classify ──▶ arrival
//	any other address ───▶ classify ──▶ drop, which counts it apart

// fromChassis takes in what a chassis has sent to this node's own address, by
// whichever tunnel port it comes: no packet waits for a port of its own.
func fromChassis(r *Reader, chassis topology.Chassis) []Flow {
	node := r.Node()
	if !node.IP.IsValid() || chassis.Name == node.Chassis || chassis.IP == node.IP {
		return nil
	}
	return []Flow{{TableClassify, prioNormal, []Match{Exact(TunDst, ipv4(node.IP)), Exact(TunSrc, ipv4(chassis.IP))}, []Action{
		Move{BitsVNI, BitsDatapath},
		Move{All(TunMetadata0), All(RegOption)},
		Goto{TableArrival},
	}}}
}

// strangers tells what comes from no chassis, or to another address, and is left
// to the miss of the table, from what comes by an interface that is no port's.
func strangers(*Reader, topology.Node) []Flow {
	return []Flow{{TableClassify, prioNobody, []Match{Exact(TunDst, 0)}, []Action{drop}}}
}
