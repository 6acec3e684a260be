package modes

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// finding is a line of tpctl check --json.
type finding struct {
	Kind, Object string
	Remedy       []string
}

// mend is the scripts' command of that name.
func mend(ts *testscript.TestScript, client *clientv3.Client, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: mend")
	}
	const most = 100 // remedies, some of which uncover what was hidden
	for range most {
		all := found(ts)
		i := slices.IndexFunc(all, func(f finding) bool { return len(f.Remedy) > 0 })
		if i < 0 {
			return
		}
		f := all[i]
		for _, line := range f.Remedy {
			ts.Logf("%s %s: %s", f.Kind, f.Object, line)
			if words := strings.Fields(line); words[0] == "etcdctl" {
				etcdctl(ts, client, words[1:])
			} else {
				ts.Check(ts.Exec("sh", "-c", "echo yes | "+line)) // some ask
			}
		}
		if slices.ContainsFunc(found(ts), func(o finding) bool { return o.Kind == f.Kind && o.Object == f.Object }) {
			ts.Fatalf("%s: %s is there still after %q", f.Object, f.Kind, f.Remedy)
		}
	}
	ts.Fatalf("after %d remedies there is still something to mend", most)
}

// found returns what tpctl check finds.
func found(ts *testscript.TestScript) []finding {
	_ = ts.Exec("tpctl", "check", "--json") // its exit status says that it finds something
	var all []finding
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var f finding
		ts.Check(json.Unmarshal([]byte(line), &f))
		if f.Kind == "" {
			ts.Fatalf("tpctl check: %s", line)
		}
		all = append(all, f)
	}
	return all
}

// etcdctl does what that tool would.
func etcdctl(ts *testscript.TestScript, client *clientv3.Client, words []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var err error
	switch {
	case len(words) == 2 && words[0] == "del":
		_, err = client.Delete(ctx, words[1])
	default:
		ts.Fatalf("etcdctl %q is not known here", words)
	}
	ts.Check(err)
}
