// Package ctl is what tpctl does: it shows and changes the topology in the
// store, one object or one link at a time, a whole road of an edge step by step,
// or a whole topology as files describe it.
//
// All returns the commands as data: their arguments, their help and the
// function behind each. The arguments, the sentences and the plain output are
// those that scripts in the field know; --json prints one object a line.
// Whatever a command finds wrong it says in one sentence, and then it has
// written nothing; what it has checked is a condition of the transaction that
// writes. Only four kinds of commands make several changes, and after an
// interruption their next plan is what is left. Those about an edge's road
// (edge.go) plan by pure functions, from the topology as it was read
// (edge_network.go, edge_plan.go, edge_remove.go); each step is a command of
// this package. Apply (files.go, files_apply.go) leaves the planning to package
// manifest and judges the outcome as a whole by the checks of the other commands
// (files_check.go); a condition of its transactions is what they write and the
// ids that it takes, not everything that the checks looked at. A node's ports are
// made in advance (provision.go) as if a file described those that are missing.
// Users and roles (auth.go) are etcd's, which knows no transactions of them: their
// steps are in an order that locks nobody out, wherever it ends.
//
// Flags, the connection's settings and the exit status are the caller's
// business, which is modes. The package knows no command-line library and
// keeps nothing between two commands.
package ctl
