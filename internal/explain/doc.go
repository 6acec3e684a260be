// Package explain says in words what the flows in a node's bridge do: with the
// names of switches, routers, ports, interfaces and chassis in place of numbers,
// and why a flow drops what it drops.
//
// A Bridge is what Open vSwitch holds at one moment, beside what is known of it.
// internal/agent reads it (agent.Explain), `tpctl flows` prints it. The package
// is pure; what a single packet went through is for internal/trace.
package explain
