package cni

import (
	"os"
	"os/signal"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/skel"
	"golang.org/x/sys/unix"
)

// Called reports whether a process with these arguments, and this value of
// CNI_COMMAND, was called as the CNI plugin: under its name, or as runtimes call
// one, without arguments. (They may leave CNI_COMMAND in the environment of what
// they start, that of an agent with its flags, for example.)
func Called(argv []string, command string) bool {
	if len(argv) == 0 {
		return false
	}
	switch filepath.Base(argv[0]) {
	case "tpcni":
		return true
	case "tpctl", "tpcnm":
		return false
	}
	return command != "" && len(argv) == 1
}

// init runs the plugin and ends the process, if it was called as that by a
// runtime: see the package's comment.
//
// It returns, and the rest of the program comes to run, for a configuration of a
// host that is on a logical port itself and has no agent; standard input can be
// read again then. It also returns if a person has called the plugin, without
// CNI_COMMAND: the rest has the help.
func init() {
	command := os.Getenv("CNI_COMMAND")
	if command == "" || !Called(os.Args, command) {
		return
	}
	signal.Ignore(unix.SIGPIPE) // a runtime that has ended must not end an ADD before it has cleaned up
	c := &call{}
	err := c.run(c.unlessUnderlay(skel.CNIFuncs{
		Add:    func(args *skel.CmdArgs) error { return add(args, os.Stdout) },
		Del:    func(args *skel.CmdArgs) error { return del(args, os.Stderr) },
		GC:     func(args *skel.CmdArgs) error { return collect(args, os.Stderr) },
		Check:  check,
		Status: status,
	}))
	if c.underlay {
		err = c.giveBack()
	}
	if err == nil && c.underlay {
		return
	}
	os.Exit(c.finish(err, os.Stdout))
}
