// Package audit finds what is inconsistent in a store: what an agent ignores,
// what leads nowhere, what two things claim, and what nobody needs any more.
//
// Check is a pure function of the store's keys (store.Everything). It asks
// topology.Model which entities count, and flows.Problems what the flow compiler
// cannot use, so that what it says is what the agents do. Each finding is of a
// Kind, which tells how bad it is and what it does to traffic (kinds.go), and
// carries the commands that end it. Some say how to repair themselves: those
// repairs lose nothing that anybody may want back. There is one file for each
// area; tpctl check prints the findings and carries the repairs out.
//
// It judges what is stored, at one moment. What hosts do is seen by tpctl status
// and tuplenet doctor.
package audit
