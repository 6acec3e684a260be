package cni

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
)

// Called reports whether a process with these arguments, and this value of
// CNI_COMMAND, was called as the CNI plugin: under its name, or by a container
// runtime and not for one of the modes that an argument names. (A runtime may
// leave CNI_COMMAND in the environment of what it starts.)
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
	named := len(argv) > 1 && (argv[1] == "help" || !strings.HasPrefix(argv[1], "-"))
	return command != "" && !named && !slices.Contains(argv[1:], "--help")
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
