// Package ctl is what tpctl does: it shows and changes the topology in the
// store, one object or one link at a time, or a whole road of an edge step by
// step.
//
// All returns the commands as data: their arguments, their help and the
// function behind each. The arguments, the sentences and the plain output are
// those that scripts in the field know; --json prints one object a line.
// Whatever a command finds wrong it says in one sentence, and then it has
// written nothing; what it has checked is a condition of the transaction that
// writes. Only the commands about an edge's road (edge.go) make several
// changes. They plan them by pure functions, from the topology as it was read
// (edge_network.go, edge_plan.go, edge_remove.go); each step is a command of
// this package, and after an interruption the next plan is what is left.
//
// Flags, the connection's settings and the exit status are the caller's
// business, which is modes. The package knows no command-line library and
// keeps nothing between two commands.
package ctl
