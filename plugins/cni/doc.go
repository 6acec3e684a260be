// Package cni is the CNI plugin, tpcni: it gives a container an interface that
// is plugged into a port of a logical switch.
//
// The plugin owns the container's end of that, a veth pair, and asks the agent
// of its host for the rest (package attach).
//
// # Why it is a module of its own
//
// A runtime starts the plugin twice for every container, and tpcni is the same
// file as all of TupleNet. What that initialises before main, above all etcd's
// server, takes several times as long as the plugin's own work. But packages are
// initialised in the order of their import paths, each as soon as all that it
// imports has been (Go specification, "Program initialization"). So this package,
// whose path comes before those of the libraries that the plugin does not need,
// is ready before these are, and runs the plugin while it is initialised itself.
// An import path belongs to a module; therefore the module. It must not import
// anything of module tuplenet, whose paths come last.
package cni
