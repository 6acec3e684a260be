// Package install puts the CNI plugin where container runtimes look for it: a
// link to the binary among the plugins, and the configuration of a network, in
// which other plugins are chained to it. It takes both back, too.
//
// It first finds out all that is to be done and all that speaks against it, and
// then does it, each file in one step: runtimes watch these directories, and
// must never see half of a file. What is as it should be already is left alone.
//
// It is called by `tuplenet cni` (modes/cni.go). It does not ask whether the
// network can work; `tuplenet doctor` does.
package install
