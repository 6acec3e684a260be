// Package cni is the CNI plugin, tpcni: it gives a container an interface that
// is plugged into a port of a logical switch. It implements the CNI
// specification, versions 0.3.0 to 1.1.0, with all of its verbs.
//
// The plugin owns the container's interface, one end of a veth pair, and asks
// the agent of its host for the rest, the address, the ports and the flows
// (package attach). The two work at the same time: the plugin says what it
// wants, does its own part, and hears what has become of it (add.go). The pair's
// end on the host is named after the attachment, so that DEL finds it without
// any record, and takes both ends away with it.
//
// What it does not do: it has no IPAM plugin behind it, it knows no etcd and no
// Open vSwitch, and without an agent it adds nothing. Hosts that are on a logical
// port themselves have none; the hook lets their configurations go to package
// underlay, which uses Config, Netns and Serve from here.
//
// # Why it is a module of its own
//
// A runtime starts the plugin twice for every container, and tpcni is the same
// file as all of TupleNet. What that initialises before main, above all etcd's
// server, takes several times as long as the plugin's own work. But packages are
// initialised in the order of their import paths, each as soon as all that it
// imports has been (Go specification, "Program initialization"). So this package,
// whose path comes before those of most libraries that the plugin does not need,
// is initialised before these are, and runs the plugin while it is.
//
// That avoids etcd's server and all else that imports net. It does not avoid some
// 150 packages, a few milliseconds, that import nothing of net and are ready while
// this one still waits for it: net needs vendor/golang.org/x/net/..., whose path
// sorts last.
//
// An import path belongs to a module; therefore the module. It must not import
// anything of module tuplenet, whose paths come late; main.go imports it.
package cni
