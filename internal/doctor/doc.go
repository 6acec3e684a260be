// Package doctor looks for what is wrong with a host that takes part, or with
// the network that it is on: what Open vSwitch and etcd cannot tell by
// themselves, and what users see only as "ping works, downloads hang".
//
// A Check is one question, and Checks is their list; a new one is a function
// and a line there. Checks change nothing: they read the store, Open vSwitch and
// the run directory, and send probes. Remedies are told, not carried out.
//
// modes/doctor.go is the only caller.
package doctor
