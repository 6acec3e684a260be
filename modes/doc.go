// Package modes turns a command line into one of the things that the tuplenet
// binary can be: the agent, a gateway's agent, etcd, tpctl, a lab.
//
// Dispatch picks the mode and is a pure function, so that its rules are a
// table test. Each mode then has one file with its flags, its wiring and its
// signals; what it does lives in the packages below. A new mode is a new
// file, a constant in dispatch.go and a line in commands.
//
// main calls Run, and nothing else here is for others.
package modes
