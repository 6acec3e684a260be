// Package embedded runs an etcd server inside this process: a single node, or
// a member of a static cluster. "tuplenet etcd" is it, the lab and the tests
// of other packages start it for themselves.
//
// It maps a few settings onto etcd's own configuration, waits until the server
// serves, turns what can go wrong at the start into one sentence, and stops
// the server without waiting for clients that watch. It does not talk to etcd
// (package store does) and does not change a cluster's membership (etcdctl
// does).
package embedded
