// Package openflow speaks OpenFlow 1.4 with Nicira's extensions to a bridge of
// Open vSwitch, over the Unix socket <rundir>/<bridge>.mgmt. It knows what
// TupleNet uses of it, and nothing else: bundles of flow-mods (Commit), the
// flows that the bridge holds (Dump), what flows refer to (EnsureTLV,
// EnsureMeters), packets from the bridge and to it (ReceivePackets, PacketOut),
// the removal of connections (FlushConnections), and barriers. A flow has two
// renderings, bytes for the wire and text for people (Text); a test on a real
// bridge holds them together. Frames stay bytes: whoever receives them reads
// them.
//
// A Conn notices by itself that its connection is lost, never that
// ovs-vswitchd hangs: every request takes a context, and its deadline is what
// notices. A request that ends so leaves the Conn usable, with two exceptions
// that close it, as nobody can tell what became of them: a bundle, and a
// message that was not written to its end. There is no reconnecting: whoever
// dials again has to compare the bridge's flows with what it wants anyway.
//
// internal/ovs is the only caller. The formats are those of the OpenFlow
// Switch Specification 1.4.0 and of Open vSwitch's ovs-fields(7),
// ovs-actions(7) and include/openflow/nicira-ext.h.
package openflow
