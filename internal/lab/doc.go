// Package lab builds a whole network on one machine: hosts as network
// namespaces, each with its own Open vSwitch and agent, a physical switch and
// router between them, machines outside that run no TupleNet, an etcd, and
// workloads as namespaces plugged into the hosts' integration bridges.
//
// It serves three callers: `tuplenet lab` (modes/lab.go), where people learn
// and try things; the scenario tests; and benchmarks that need real Open
// vSwitch and real packets.
//
// Everything is done by the commands that a person would type (ip, ovs-vsctl,
// tpctl), which the lab prints on request and keeps in commands.log. A lab is
// more than its process: it lives in /run/tuplenet/lab/<name> and in the
// namespaces <name>-*, and any later process can Open it, change it or take it
// down, whatever became of the one that made it.
//
// It is for one machine, needs root, and measures nothing: packets between
// hosts cross a veth pair, not a wire.
package lab
