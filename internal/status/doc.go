// Package status is what one asks a running TupleNet about itself: how etcd's
// members are, which chassis there are, and what the agent of each says of its
// node.
//
// A Report is an agent's word, which travels through etcd as the answer to the
// command "status" (internal/store/communicate.go). A Snapshot is all of it at
// one moment: Take makes one, and its methods print it. What is wrong inside the
// topology is not for here but for `tpctl check`, and what is wrong with a host
// for `tuplenet doctor`.
//
// internal/agent makes reports; internal/ctl takes snapshots and prints them;
// internal/doctor asks other chassis for the time.
package status
