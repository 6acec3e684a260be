package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/containernetworking/cni/pkg/version"

	"cni.tuplenet/attach"
)

// given is what the agent gives in these tests.
func given(t *testing.T, c *Config) Attached {
	t.Helper()
	a, err := c.ParseAnswer(reserved, "eth0", Wanted{Bits: -1})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestResultVersions(t *testing.T) {
	for _, v := range version.VersionsStartingFrom(minVersion).SupportedVersions() {
		t.Run(v, func(t *testing.T) {
			c, err := parse(with(t, `{"cniVersion": "`+v+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := c.WriteResult(&out, c.Result(given(t, c), "/run/netns/a", nil)); err != nil {
				t.Fatal(err)
			}
			if _, err := create.Create(v, out.Bytes()); err != nil {
				t.Errorf("the library does not take the result %s: %v", out.Bytes(), err)
			}
			var r struct {
				CNIVersion string
				Interfaces []map[string]any
				IPs        []map[string]any
			}
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			if r.CNIVersion != v || r.IPs[0]["address"] != "10.20.1.5/24" || r.Interfaces[0]["name"] != "eth0" {
				t.Errorf("the result is %s", out.Bytes())
			}
			_, hasFamily := r.IPs[0]["version"]
			_, hasMTU := r.Interfaces[0]["mtu"]
			if isOld := strings.HasPrefix(v, "0."); hasFamily != isOld || hasMTU == isOld {
				t.Errorf("version %t, mtu %t in %s", hasFamily, hasMTU, out.Bytes())
			}
		})
	}
}

func TestErrorAnswer(t *testing.T) {
	for _, test := range []struct{ version, want string }{
		{"", `{"cniVersion":"1.1.0","code":11,"msg":"no agent <here>","details":"at all"}`},
		{"0.4.0", `{"cniVersion":"0.4.0","code":11,"msg":"no agent <here>","details":"at all"}`},
	} {
		var out, compact bytes.Buffer
		c := call{version: test.version}
		if status := c.finish(types.NewError(types.ErrTryAgainLater, "no agent <here>", "at all"), &out); status != 1 {
			t.Errorf("exit status %d, want 1", status)
		}
		if err := json.Compact(&compact, out.Bytes()); err != nil || compact.String() != test.want {
			t.Errorf("%s, %v; want %s", compact.Bytes(), err, test.want)
		}
	}
	one := &attach.Error{Code: attach.CodeFull, Msg: "full", Details: "all of it"}
	for _, test := range []struct {
		err  error
		want types.Error
	}{
		{one, types.Error{Code: 100, Msg: "full", Details: "all of it"}},
		{errors.Join(nil, one), types.Error{Code: 100, Msg: "full", Details: "all of it"}},
		{errors.Join(one, errors.New("stuck")), types.Error{Code: 100, Msg: "full; all of it; stuck"}},
		{errors.New("stuck"), types.Error{Code: types.ErrInternal, Msg: "stuck"}},
	} {
		var is *types.Error
		if !errors.As(asCNI(test.err), &is) || *is != test.want {
			t.Errorf("%v becomes %+v, want %+v", test.err, is, test.want)
		}
	}
	if status := (&call{}).finish(nil, os.Stdout); status != 0 {
		t.Errorf("exit status %d without an error", status)
	}
}
