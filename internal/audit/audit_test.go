package audit

import (
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/store"
)

var update = flag.Bool("update", false, "rewrite the list in docs/check.md")

// now is when stores are checked.
var now = time.Date(2026, 11, 21, 14, 3, 5, 0, time.UTC)

// keysOf reads a store, a key a line: its path under entity_view/, or under the
// prefix, and its value. "#" behind that says that it has a lease; "ids=1,2"
// stands for a book of these ids. Earlier lines were created before later ones.
// globals that say nothing wrong are added unless there are some.
func keysOf(t *testing.T, text string) []store.Item {
	t.Helper()
	const prefix = "/tuplenet"
	var items []store.Item
	add := func(line string) {
		line, leased := strings.CutSuffix(line, " #")
		path, value, ok := strings.Cut(line, " ")
		if !ok {
			t.Fatalf("line %q: want a path and a value", line)
		}
		switch group, _, _ := strings.Cut(path, "/"); group {
		case "LS", "LR", "chassis":
			path = "entity_view/" + path
		}
		if list, ok := strings.CutPrefix(value, "ids="); ok {
			value = book(t, list)
		}
		item := store.Interpret(prefix, prefix+"/"+path, value)
		item.Created, item.Modified, item.Leased = int64(len(items)+1), int64(len(items)+1), leased
		items = append(items, item)
	}
	for line := range strings.Lines(strings.TrimSpace(text)) {
		if line = strings.TrimSpace(line); line != "" {
			add(line)
		}
	}
	if !strings.Contains(text, "globals/") {
		var ids []string
		for _, item := range items {
			if id, ok := strings.CutPrefix(item.Value, "id="); ok && item.Err == nil {
				id, _, _ = strings.Cut(id, ",")
				ids = append(ids, id)
			}
		}
		add("globals/version 1")
		add("globals/device_ids ids=" + strings.Join(ids, ","))
	}
	return items
}

func book(t *testing.T, list string) string {
	t.Helper()
	bits := roaring.New()
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		id, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		bits.Add(uint32(id))
	}
	raw, err := bits.ToBytes()
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func TestCheck(t *testing.T) {
	tested := map[Kind]bool{}
	for _, c := range slices.Concat(cases, childCases, dockerCases) {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			all, told := Check(keysOf(t, c.store), now), map[string]bool{}
			for _, f := range all {
				told[f.Object] = told[f.Object] || f.Follows == ""
			}
			for _, f := range all {
				tested[f.Kind] = true
				mend := strings.Join(f.Remedy, "; ")
				if f.Follows != "" {
					mend += "follows from " + f.Follows
				}
				got = append(got, fmt.Sprintf("%s %s: %s", f.Kind, f.Object, mend))
				if f.Follows != "" && !told[f.Follows] {
					t.Errorf("%s follows from %s, of which nothing is told", f.Object, f.Follows)
				}
				if f.What == "" || mend+f.Cure == "" || len(f.Names) == 0 {
					t.Errorf("%s says too little: %+v", f.Object, f)
				}
				checkMend(t, f)
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(c.want))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
	for k := UnreadableValue; k <= lastKind; k++ {
		if !tested[k] {
			t.Errorf("no case finds %s", k)
		}
	}
}

// checkMend sees to it that a finding deletes nothing of a user's without naming
// what keeps it first, asks before it deletes much, and that what it follows
// from is told of.
func checkMend(t *testing.T, f Finding) {
	t.Helper()
	mend := strings.Join(f.Remedy, "; ")
	if strings.Contains(mend, "--yes") || strings.Contains(mend, "yes |") {
		t.Errorf("%s: the remedy asks nobody: %s", f.Object, mend)
	}
	// What is there a second time or belongs to nobody, and what agents write again.
	spare := []Kind{DuplicateRoute, DuplicateNAT, DownLeftover, StrangeKey}
	isSpare := slices.Contains(spare, f.Kind) || strings.HasPrefix(f.Object, "chassis ") || strings.HasPrefix(mend, "etcdctl del")
	deletes := strings.Contains(mend, " del ") || strings.Contains(mend, " remove ")
	if deletes && !strings.Contains(mend, " add ") && f.Cure == "" && !isSpare {
		t.Errorf("%s (%s): nothing but to delete: %s", f.Object, f.Kind, mend)
	}
}

// TestKinds holds every kind to a word of its own and to sentences.
func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for k := UnreadableValue; k <= lastKind; k++ {
		a := k.about()
		if a.Word == "" || seen[a.Word] {
			t.Errorf("kind %d has no word of its own: %q", k, a.Word)
		}
		seen[a.Word] = true
		for _, sentence := range []string{a.Means, a.Effect, a.Mend} {
			if !strings.HasSuffix(strings.TrimSuffix(sentence, ")"), ".") {
				t.Errorf("%s: %q is no sentence", k, sentence)
			}
		}
		if got, err := ParseSeverity(a.Severity.String()); err != nil || got != a.Severity {
			t.Errorf("%s: severity %v reads as %v, %v", k, a.Severity, got, err)
		}
	}
	if _, err := ParseSeverity("fatal"); err == nil {
		t.Error("fatal is a severity")
	}
}

// TestDocument holds the list in docs/check.md to what the code finds.
func TestDocument(t *testing.T) {
	const path = "../../docs/check.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, list, _ := strings.Cut(string(text), "## Errors")
	if *update {
		if err := os.WriteFile(path, []byte(head+Document()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(Document(), "## Errors"+list); diff != "" {
		t.Errorf("docs/check.md lists other findings than the code has (-code +doc; go test ./internal/audit -update rewrites it):\n%s", diff)
	}
}

func TestAbout(t *testing.T) {
	f := Check(keysOf(t, linked+"LS/A/lsp/bad ip=1"), now)[0]
	for name, want := range map[string]bool{"bad": true, "A": true, "A/bad": true, "switch port A/bad": true, "a": false, "": false, "R": false} {
		if f.About(name) != want {
			t.Errorf("about %q: %v, want %v", name, !want, want)
		}
	}
}

// large is a store with many ports on many switches of one router.
func large(t testing.TB) []store.Item {
	const prefix = "/tuplenet"
	var items []store.Item
	add := func(path, format string, args ...any) {
		item := store.Interpret(prefix, prefix+"/entity_view/"+path, fmt.Sprintf(format, args...))
		if item.Err != nil {
			t.Fatal(path, item.Err)
		}
		item.Created = int64(len(items) + 1)
		items = append(items, item)
	}
	add("LR/R", "id=1")
	for s := range 100 {
		add(fmt.Sprintf("LS/S%d", s), "id=%d", s+2)
		add(fmt.Sprintf("LS/S%d/lsp/S%[1]d_to_R", s), "ip=10.0.%d.1,mac=f2:01:0a:00:%02[1]x:01,peer=R_to_S%[1]d", s)
		add(fmt.Sprintf("LR/R/lrp/R_to_S%d", s), "ip=10.0.%d.1,prefix=24,mac=f2:01:0a:00:%02[1]x:01,peer=S%[1]d_to_R", s)
		for p := range 200 {
			add(fmt.Sprintf("LS/S%d/lsp/p%[1]d-%d", s, p), "ip=10.0.%d.%d,mac=f2:01:0a:00:%02[1]x:%02[2]x", s, p+10)
		}
	}
	items = append(items, store.Interpret(prefix, prefix+"/globals/version", "1"))
	return items
}

// BenchmarkCheck checks 20,000 ports.
func BenchmarkCheck(b *testing.B) {
	items := large(b)
	for b.Loop() {
		if findings := Check(items, now); len(findings) != 1 {
			b.Fatal(findings)
		}
	}
}

func TestLarge(t *testing.T) {
	start := time.Now()
	findings := Check(large(t), now)
	if len(findings) != 1 || findings[0].Kind != DeviceIDsMissing {
		t.Errorf("a sound store has findings: %v", findings)
	}
	t.Logf("20,000 ports in %s", time.Since(start))
}
