// Package flows is the flow compiler: it turns the logical topology, as one
// node sees it, into the OpenFlow flows of that node's integration bridge.
//
// A packet's way through the tables is declared in tables.go, the registers
// that it carries along in fields.go. What the tables hold is made by rules,
// pure functions from one entity to its flows (rules_*.go, listed in rules.go);
// what no flow can do they say in notes (note.go).
// The engine (engine.go) runs the rules whose inputs changed and hands over
// the difference.
//
// The package is pure: no I/O, no clock, no goroutine, and it imports nothing
// of the project but topology. The agent feeds it and hands its flows to
// internal/ovs; tests and tpctl run it on a topology alone.
package flows
