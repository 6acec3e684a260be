// Package doctor looks for what is wrong with a host that takes part, or with
// the network that it is on: what Open vSwitch and etcd cannot tell by
// themselves, and what users see only as "ping works, downloads hang".
//
// A Check is one question, and Checks is their list; a new one is a function
// and a line there. Checks change nothing: they read the store, Open vSwitch, the
// kernel and the run directory, send probes, and ask agents for their status.
// What is wrong with one thing keeps nothing else from being looked at. Remedies
// are told, not carried out.
//
// modes/doctor.go is the caller, and modes/cnm.go of Docker alone.
package doctor
