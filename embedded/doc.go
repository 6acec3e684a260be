// Package embedded runs an etcd server inside this process: a single node, or
// a member of a cluster. "tuplenet etcd" is it, the lab and the tests of other
// packages start it for themselves. Beside that it does what an operator does to
// any etcd that runs: it takes and restores backups, and changes a cluster's
// members.
//
// It maps a few settings onto etcd's own configuration, waits until the server
// serves, turns what can go wrong into one sentence, and stops the server without
// waiting for clients that watch. What is in etcd is none of its business: that is
// package store's.
package embedded
