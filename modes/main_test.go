package modes

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test's binary serve scripts as tuplenet under its names.
func TestMain(m *testing.M) {
	tuplenet := func() { os.Exit(Run(os.Args, os.Getenv("CNI_COMMAND"), os.Stdin, os.Stdout, os.Stderr)) }
	testscript.Main(m, map[string]func(){"tuplenet": tuplenet, "tpctl": tuplenet, "tpcni": tuplenet, "tpcnm": tuplenet})
}
