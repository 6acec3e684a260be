// Package ovs drives the node's Open vSwitch: the integration bridge, its
// tunnel ports with BFD, the patch ports that join it to other bridges, the
// port to the host's stack, its flows, and who is told of its packets (IPFIX).
// Over one OVSDB connection it watches the interfaces of the bridge and makes
// ports; over one OpenFlow connection it keeps the flows, and over another it
// exchanges packets with them. Limits of connections, which neither protocol
// knows, go to ovs-vswitchd's control socket.
//
// All connections come back by themselves. That ovs-vswitchd or ovsdb-server
// restarts, that somebody deletes the bridge, are ordinary events: the bridge
// is made again, Events wakes the caller, who reads the state anew with the
// getters, and NeedsSync says when the bridge needs the whole set of flows.
// There are no other messages; nobody has to follow a sequence of them.
//
// A daemon that hangs is one that does not answer: requests end with their
// context, and one that may have changed something ends its connection, as its
// fate is unknown. What comes over the next one is the truth: both daemons work
// off an old connection before they answer a new one.
//
// What the driver did not make it leaves alone: flows whose cookie has not
// flows.CookieTag, ports whose name is not a tunnel's or the host stack's,
// pairs of patch ports whose other end has no iface-id, what others have set of
// IPFIX, and columns that it knows nothing of. The column bfd it writes when its
// wish changes, and leaves to the operator otherwise.
//
// It does not know the topology: which tunnels and flows there are to be, and
// which interface is which port, is the business of internal/agent, which runs
// it; internal/cleanup takes away what it has left behind. How a flow becomes
// bytes is that of internal/ovs/openflow.
package ovs
