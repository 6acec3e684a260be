// Package trace tells the path of one packet through the virtual network, table
// by table. There are two sources of it, and one form:
//
//	a marked packet ──▶ the tables of every chassis on its way ──▶ agents ──▶ Record ─┐
//	                                                                                  ├─▶ Path
//	the store ──▶ flows of every chassis on its way, walked in memory ────▶ Record ───┘
//
// A live trace (internal/agent, flows/rules_trace.go) shows what Open vSwitch does;
// a dry one (Dry) what it ought to do. Compare holds one against the other.
//
// The package is pure: it does no I/O and needs no clock. Its callers are the
// agent, which makes records, and tpctl, which makes paths of them.
package trace
