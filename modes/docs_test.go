package modes

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestDocumentedCommands holds what README.md and docs/ tell people to type to what
// there is: commands and flags, not what they are given.
func TestDocumentedCommands(t *testing.T) {
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatal(docs, err)
	}
	checked := 0
	for _, path := range append(docs, "../README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range typed(string(text)) {
			checked++
			if why := wrongWith(words); why != "" {
				t.Errorf("%s: %s: %s", filepath.Base(path), strings.Join(words, " "), why)
			}
		}
	}
	if checked < 300 {
		t.Errorf("only %d commands were found", checked)
	}
}

// TestAlertsAreExplained holds docs/operations.md to the alerts that there are.
func TestAlertsAreExplained(t *testing.T) {
	rules, err := os.ReadFile("../packaging/prometheus/tuplenet.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var alerts, explained []string
	for _, m := range regexp.MustCompile(`(?m)^ *- alert: (\S+)$`).FindAllSubmatch(rules, -1) {
		alerts = append(alerts, string(m[1]))
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (TupleNet\S+) \|`).FindAllSubmatch(doc, -1) {
		explained = append(explained, string(m[1]))
	}
	if len(alerts) == 0 || !slices.Equal(alerts, explained) {
		t.Errorf("the alerts are %v, docs/operations.md explains %v", alerts, explained)
	}
}

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	// What stands in front of a command: a prompt, variables, and commands that start another one.
	before = regexp.MustCompile(`^(?:\S*[#$] |[A-Z_]+=\S* |sudo (?:-E )?|exec |(?:tuplenet )?lab exec \S+ -- |nsenter \S+ )*`)
	// What ends a command for the shell, or for the reader.
	after = regexp.MustCompile(`\s(?:#|\||&&?|>|<|2>|;|\\$).*|[;&]$|\s*…|\s\.\.\.$`)
)

// typed returns the words of each command of ours in a document: in lines of code,
// and between backquotes where there is more than a name.
func typed(text string) [][]string {
	var lines []string
	fenced := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
		case fenced || strings.HasPrefix(line, "    "):
			lines = append(lines, strings.Split(strings.TrimSpace(line), "; ")...)
		default:
			for _, span := range codeSpan.FindAllStringSubmatch(line, -1) {
				lines = append(lines, strings.ReplaceAll(span[1], `\|`, "|"))
			}
		}
	}
	var all [][]string
	for _, line := range lines {
		line = before.ReplaceAllString(line, "")
		line = after.ReplaceAllString(line, "")
		words := strings.Fields(line)
		if len(words) > 1 && slices.Contains([]string{"tpctl", "tuplenet", "tpcnm"}, words[0]) {
			all = append(all, words)
		}
	}
	return all
}

// wrongWith says why there is no such command, or returns nothing.
func wrongWith(argv []string) string {
	for _, word := range argv {
		if strings.ContainsAny(word, "|[$▶◀") { // several at once, what the shell is to find out, a drawing
			return ""
		}
	}
	mode, argv := Dispatch(argv, "")
	app, err := newApp(mode, argv)
	if err != nil {
		return err.Error()
	}
	l := read(app, argv[1:])
	if len(l.commands) > 0 && len(l.rest) > 0 && (l.command == nil || l.command.Action == nil || len(l.command.Subcommands) > 0) {
		return "there is no command " + l.rest[0]
	}
	known := slices.Concat(l.flags, app.Flags, []cli.Flag{cli.VersionFlag})
	given := slices.Concat(l.global, l.local)
	for i := 0; i < len(given); i++ {
		name, _, hasValue := strings.Cut(strings.TrimLeft(given[i], "-"), "=")
		flag := findFlag(known, name)
		if flag == nil {
			return "there is no flag " + given[i]
		}
		if takesValue(flag) && !hasValue {
			i++
		}
	}
	return ""
}
