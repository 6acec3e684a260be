package modes

import (
	"strings"

	"github.com/urfave/cli/v2"
)

const exampleTitle = "Example:\n   "

// example puts command lines that work into a description.
func example(lines ...string) string { return exampleTitle + strings.Join(lines, "\n   ") }

// firstExample returns the first command line that example put into a
// description.
func firstExample(description string) string {
	_, lines, _ := strings.Cut(description, exampleTitle)
	line, _, _ := strings.Cut(lines, "\n")
	return line
}

// rootDescription shows every mode by a command line that works.
func rootDescription(all []*cli.Command) string {
	var examples []string
	for _, c := range all {
		if !c.Hidden {
			examples = append(examples, firstExample(c.Description))
		}
	}
	return "Without a mode it is the agent. Called as tpctl, it is \"tuplenet ctl\".\n\n" + example(examples...)
}
