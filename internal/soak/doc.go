// Package soak breaks a lab in every way that a node can fail, at random and
// for as long as one says, and judges what becomes of it: agents, ovs-vswitchd,
// ovsdb-server and members of etcd are killed, made to hang and brought back in
// any order, several at a time, while pings run and the topology changes.
//
// After each step every host of which nothing is broken has to hold the flows of
// a fresh agent within two seconds; and at the end of a sequence no ping may be
// missing that no fault explains. What explains what is in account_test.go.
//
// `make soak` calls it, CI runs it for two minutes, and `go test ./...` a short
// sequence that is always the same. Given the same seed it does the same again.
// It is not part of the product; it has nothing but tests.
package soak
