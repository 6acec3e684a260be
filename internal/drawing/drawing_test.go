package drawing

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/topology"
)

var update = flag.Bool("update", false, "write the golden files anew")

// forms are the ways to draw a graph.
var forms = []struct {
	name string
	draw func(*Graph, io.Writer) error
}{
	{"text", func(g *Graph, out io.Writer) error { return g.Text(out, TextOptions{}) }},
	{"dot", (*Graph).DOT},
	{"svg", (*Graph).SVG},
	{"json", (*Graph).JSON},
}

// drawn returns what draw writes.
func drawn(t *testing.T, g *Graph, draw func(*Graph, io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := draw(g, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func text(t *testing.T, g *Graph, o TextOptions) string {
	t.Helper()
	return drawn(t, g, func(g *Graph, out io.Writer) error { return g.Text(out, o) })
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got, go test -update writes it):\n%s", file, diff)
	}
}

func TestGolden(t *testing.T) {
	g := New(tutorial())
	for _, f := range forms {
		folded := g
		if f.name != "json" {
			folded = g.Fold()
		}
		golden(t, "tutorial."+f.name, drawn(t, folded, f.draw))
	}
	golden(t, "tutorial-narrow.text", text(t, g.Fold(), TextOptions{Width: 60, ASCII: true}))
	golden(t, "large.text", text(t, New(large()).Fold(), TextOptions{Width: 120}))
	golden(t, "large.dot", drawn(t, New(large()).Fold(), (*Graph).DOT))
	golden(t, "dangling.text", text(t, New(dangling()), TextOptions{}))
	golden(t, "pods.text", text(t, New(pods()).Fold(), TextOptions{}))
	golden(t, "docker.text", text(t, docker().Fold(), TextOptions{}))
	golden(t, "docker.json", drawn(t, docker(), (*Graph).JSON))
}

// TestOrder makes sure that a drawing does not depend on the order in which
// the store tells things.
func TestOrder(t *testing.T) {
	changes := tutorial()
	want := map[string]string{}
	for _, f := range forms {
		want[f.name] = drawn(t, New(changes), f.draw)
	}
	slices.Reverse(changes)
	for _, f := range forms {
		if diff := cmp.Diff(want[f.name], drawn(t, New(changes), f.draw)); diff != "" {
			t.Errorf("%s differs (-in order +reversed):\n%s", f.name, diff)
		}
	}
}

func TestEmpty(t *testing.T) {
	g := New(nil).Fold()
	if got := text(t, g, TextOptions{Width: 80}); got != "empty data set\n" {
		t.Errorf("text: %q", got)
	}
	if got := drawn(t, g, (*Graph).JSON); got != `{"nodes":[],"edges":[]}`+"\n" {
		t.Errorf("JSON: %q", got)
	}
	if got := drawn(t, g, (*Graph).SVG); !strings.Contains(got, "empty data set") {
		t.Errorf("SVG: %s", got)
	} else {
		checkSVG(t, got)
	}
	if got := drawn(t, g, (*Graph).DOT); strings.Contains(got, "--") {
		t.Errorf("DOT: %s", got)
	}
}

// hostile is a name that others may have written into the store, as far as one
// can be there.
var hostile = []string{
	`"quoted" \N \l`, `<b>&amp;</b>`, `]]>`, `'--`, "日本語ネットワーク", "e\u0301te\u0301", "\u202eright to left", "\u009b31mred",
	"not\xffUTF-8", "\U0001f600", "\ufffe", strings.Repeat("long", 300), "─│┌",
}

func hostileNetwork() network {
	var n network
	for i, name := range hostile {
		n.add(topology.Switch{Name: name, ID: uint32(100 + i)}, topology.Router{Name: name, ID: uint32(200 + i), Chassis: name})
		n.up(name, fmt.Sprint("192.168.1.", 1+i))
		mac := topology.MAC{2, 0, 0, 0, 0, byte(i)}
		net := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), 24)
		n.add(topology.SwitchPort{Switch: name, Name: name + "s", IP: net.Addr(), MAC: mac, Peer: name + "r"},
			topology.RouterPort{Router: name, Name: name + "r", Net: net, MAC: mac, Peer: name + "s"})
		n.port(name, name, fmt.Sprintf("10.0.%d.2", i), name)
		n.outer(name, name+"o", name, name+"\x1b[31m")
		n.route(name, name, "0.0.0.0/0", "10.0.0.9", name)
	}
	return n
}

func TestHostileNames(t *testing.T) {
	g := New(hostileNetwork())
	for _, o := range []TextOptions{{}, {Width: 80}, {ASCII: true}, {Width: 20, ASCII: true}, {Width: 1}} {
		got := text(t, g, o)
		for line := range strings.Lines(got) {
			line = strings.TrimSuffix(line, "\n")
			if o.Width > 0 && columns(line) > max(o.Width, 1) {
				t.Errorf("%+v: %d columns: %s", o, columns(line), line)
			}
			if i := strings.IndexFunc(line, func(r rune) bool {
				return !unicode.IsGraphic(r) && r != utf8.RuneError || o.ASCII && r > unicode.MaxASCII
			}); i >= 0 {
				t.Errorf("%+v: %q is not to be printed: %q", o, line[i:], line)
			}
		}
	}
	checkSVG(t, drawn(t, g, (*Graph).SVG))
	var parsed struct{ Nodes []struct{ Name string } }
	if err := json.Unmarshal([]byte(drawn(t, g, (*Graph).JSON)), &parsed); err != nil || len(parsed.Nodes) != 3*len(hostile) {
		t.Errorf("JSON: %d nodes, %v", len(parsed.Nodes), err)
	}
	checkDOT(t, drawn(t, g, (*Graph).DOT))
}

// checkDOT checks that every line is a statement whose strings end where they
// are to, and in which a backslash only begins what was meant.
func checkDOT(t *testing.T, dot string) {
	t.Helper()
	if !utf8.ValidString(dot) {
		t.Error("DOT: not UTF-8")
	}
	for line := range strings.Lines(dot) {
		in := false
		for rest := line; rest != ""; {
			switch {
			case in && strings.HasPrefix(rest, `\`):
				if !strings.ContainsRune(`\"nl`, rune(rest[1])) {
					t.Errorf(`DOT: escape \%c in %s`, rest[1], line)
				}
				rest = rest[2:]
				continue
			case rest[0] == '"':
				in = !in
			}
			rest = rest[1:]
		}
		if in || !strings.HasSuffix(strings.TrimSpace(line), ";") && !strings.ContainsAny(line, "{}") {
			t.Errorf("DOT: a string does not end in %s", line)
		}
	}
}

func TestColumns(t *testing.T) {
	for s, want := range map[string]int{"": 0, "LS-A": 4, "日本": 4, "e\u0301": 1, "─…→": 3, "Ａ": 2} {
		if got := columns(s); got != want {
			t.Errorf("columns(%q) = %d, want %d", s, got, want)
		}
	}
	for _, c := range []struct {
		s    string
		most int
		want string
	}{{"LS-A", 4, "LS-A"}, {"LS-AB", 4, "LS-…"}, {"日本語", 4, "日…"}, {"LS-AB", 0, "LS-AB"}} {
		if got := unicodeWriting.cut(c.s, c.most); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.s, c.most, got, c.want)
		}
	}
}

func TestNatural(t *testing.T) {
	names := []string{"LS-10", "LS-9", "LS-1", "A", "LS-01", "LS", "LS-9a", "LS-123456789012345678901234567890", "b"}
	slices.SortFunc(names, natural)
	want := []string{"A", "LS", "LS-01", "LS-1", "LS-9", "LS-9a", "LS-10", "LS-123456789012345678901234567890", "b"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// checkSVG checks that a picture is well-formed XML, that its boxes are inside
// and do not overlap, and that texts are inside of what they belong to.
func checkSVG(t *testing.T, svg string) {
	t.Helper()
	type rect struct {
		X      float64 `xml:"x,attr"`
		Y      float64 `xml:"y,attr"`
		Width  string  `xml:"width,attr"`
		Height string  `xml:"height,attr"`
	}
	type words struct {
		X    float64 `xml:"x,attr"`
		Y    float64 `xml:"y,attr"`
		Text string  `xml:",chardata"`
	}
	var picture struct {
		ViewBox string `xml:"viewBox,attr"`
		Groups  []struct {
			Rect rect    `xml:"rect"`
			Text []words `xml:"text"`
		} `xml:"g"`
		Text []words `xml:"text"`
		Path []struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal([]byte(svg), &picture); err != nil {
		t.Fatalf("SVG: %v", err)
	}
	var w, h float64
	if _, err := fmt.Sscanf(picture.ViewBox, "0 0 %g %g", &w, &h); err != nil {
		t.Fatalf("viewBox %q: %v", picture.ViewBox, err)
	}
	type area struct {
		x1, y1, x2, y2 float64
		what           string
	}
	var areas []area
	for _, g := range picture.Groups {
		a := area{x1: g.Rect.X, y1: g.Rect.Y, what: g.Text[0].Text}
		fmt.Sscan(g.Rect.Width, &a.x2)
		fmt.Sscan(g.Rect.Height, &a.y2)
		a.x2, a.y2 = a.x1+a.x2, a.y1+a.y2
		areas = append(areas, a)
		for _, s := range g.Text {
			if end := s.X + float64(columns(s.Text))*charWidth; s.X < a.x1 || end > a.x2 || s.Y-10 < a.y1 || s.Y > a.y2 {
				t.Errorf("SVG: text %q at %g,%g leaves the box of %s", s.Text, s.X, s.Y, a.what)
			}
		}
	}
	for _, s := range picture.Text { // at lines
		areas = append(areas, area{s.X, s.Y - 10, s.X + float64(columns(s.Text))*charWidth, s.Y + 2, "text " + s.Text})
	}
	for i, a := range areas {
		if a.x1 < 0 || a.y1 < 0 || a.x2 > w+1 || a.y2 > h+1 {
			t.Errorf("SVG: %s, %g,%g to %g,%g, is not inside of %g,%g", a.what, a.x1, a.y1, a.x2, a.y2, w, h)
		}
		for _, b := range areas[:i] {
			if a.x1 < b.x2-1 && b.x1 < a.x2-1 && a.y1 < b.y2-1 && b.y1 < a.y2-1 {
				t.Errorf("SVG: %s and %s overlap", a.what, b.what)
			}
		}
	}
	for _, p := range picture.Path {
		points := strings.FieldsFunc(p.D, func(r rune) bool { return strings.ContainsRune(" MCLh", r) })
		for i := 0; i+1 < len(points) && !strings.Contains(p.D, "h"); i += 2 {
			var x, y float64
			fmt.Sscan(points[i], &x)
			fmt.Sscan(points[i+1], &y)
			if x < 0 || x > w || y < 0 || y > h {
				t.Errorf("SVG: line %s leaves the picture", p.D)
			}
		}
	}
}

func TestPicture(t *testing.T) {
	for name, g := range map[string]*Graph{
		"tutorial": New(tutorial()), "large": New(large()).Fold(), "dangling": New(dangling()), "tenants": New(tenants(30)), "folded tenants": New(tenants(30)).Fold(),
		"mesh": New(mesh()), "docker": docker().Fold(),
	} {
		t.Run(name, func(t *testing.T) { checkSVG(t, drawn(t, g, (*Graph).SVG)) })
	}
}

// TestLarge draws 20,000 ports in every form, folded and not. It is the promise
// of a readable picture that is tested: a folded one is small.
func TestLarge(t *testing.T) {
	g := New(large())
	ports := 0
	for _, n := range g.Nodes {
		ports += len(n.Ports)
	}
	if ports != 20000 {
		t.Fatalf("%d ports", ports)
	}
	for _, f := range forms {
		full := drawn(t, g, f.draw)
		if f.name == "json" {
			continue
		}
		if n := strings.Count(full, "port-99-199"); n != 1 {
			t.Errorf("%s: the last port is drawn %d times", f.name, n)
		}
		folded := drawn(t, g.Fold(), f.draw)
		if lines := strings.Count(folded, "\n"); lines > 150 {
			t.Errorf("%s: folded it is %d lines", f.name, lines)
		}
		if !strings.Contains(folded, "LS-001 … LS-100") || !strings.Contains(folded, "100 switches, 200 workloads each") {
			t.Errorf("%s: the switches are not folded:\n%s", f.name, folded)
		}
	}
}
