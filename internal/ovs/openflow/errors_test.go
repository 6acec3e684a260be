package openflow

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tuplenet/internal/ovs/ovstest"
)

// TestErrorNames compares the names of errors with those that ovs-ofctl knows.
func TestErrorNames(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	var names []string
	var b []byte
	for e := range errorNames {
		start := len(b)
		b = appendHeader(b, typeError, uint32(len(names)))
		b = binary.BigEndian.AppendUint16(b, e.Type)
		b = binary.BigEndian.AppendUint16(b, e.Code)
		if e.Type == niciraError {
			b = binary.BigEndian.AppendUint32(b, niciraVendor)
		}
		b = append(appendHeader(b, typeFlowMod, 0), 0, 0) // the beginning of what was refused
		if err := endMessage(b, start); err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(e.Error(), ":")
		names = append(names, name)
	}
	file := filepath.Join(o.RunDir(), "errors")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	printed := o.Ofctl("ofp-parse", file) + "\n"
	for i, name := range names {
		if want := fmt.Sprintf("(xid=%#x): %s\n", i, name); !strings.Contains(printed, want) {
			t.Errorf("ovs-ofctl does not print %q", want)
		}
	}
	if t.Failed() {
		t.Logf("it prints:\n%s", printed)
	}
	if got := (&Error{77, 3}).Error(); got != "OpenFlow error of type 77, code 3" {
		t.Errorf("an unknown error reads %q", got)
	}
}
