// Command tuplenet is TupleNet in one binary: the agent of a host or of a
// gateway, etcd, tpctl, the CNI plugin and a lab. Which of them it is depends on its name, its
// first argument and CNI_COMMAND; package modes decides.
package main

import (
	_ "cni.tuplenet" // runs the CNI plugin, if that was called, before most else is initialised
	"os"

	"tuplenet/modes"
)

func main() {
	os.Exit(modes.Run(os.Args, os.Getenv("CNI_COMMAND"), os.Stdin, os.Stdout, os.Stderr))
}
