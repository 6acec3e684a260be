package modes

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v2"

	"tuplenet/internal/config"
)

// manCommand writes the manual pages, for those who make packages.
func manCommand() *cli.Command {
	return &cli.Command{
		Name:        string(ModeMan),
		Usage:       "write the manual pages tpctl.1 and tuplenet.8",
		ArgsUsage:   "DIRECTORY",
		Description: example("tuplenet man packaging/man"),
		Hidden:      true,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "markdown", Usage: "print what tpctl.1 says as Markdown instead", DisableDefaultText: true},
			&cli.BoolFlag{Name: "configuration", Usage: "print the reference of the agent's settings instead", DisableDefaultText: true},
			&cli.BoolFlag{Name: "agent-yaml", Usage: "print the packaged example of the agent's file instead", DisableDefaultText: true},
		},
		Action: writeManuals,
	}
}

var definition = regexp.MustCompile(`(?m)^(.+)\n:   `)

func writeManuals(c *cli.Context) error {
	switch {
	case c.Bool("configuration"):
		_, err := io.WriteString(c.App.Writer, config.Reference())
		return err
	case c.Bool("agent-yaml"):
		_, err := io.WriteString(c.App.Writer, config.Example())
		return err
	case c.Bool("markdown"):
		// What is a definition in a manual page is an item of a list here.
		text := definition.ReplaceAllString(ctlManual(2), "- $1: ")
		_, err := fmt.Fprintf(c.App.Writer, "# tpctl\n\n<!-- Written by make man, from what tpctl says of itself. -->\n\n%s\n", strings.TrimSpace(text))
		return err
	}
	if c.NArg() != 1 {
		return fmt.Errorf("man: require DIRECTORY, got %d arguments", c.NArg())
	}
	dir := c.Args().First()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the manual pages: %w", err)
	}
	for name, text := range map[string]string{
		"tpctl.1":    manualPage("tpctl", 1, "show and change the virtual network of TupleNet", ctlManual(1)),
		"tuplenet.8": manualPage("tuplenet", 8, rootUsage, hostManual()),
	} {
		page := tidy.Replace(string(md2man.Render([]byte(text))))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(page), 0o644); err != nil {
			return fmt.Errorf("write the manual page: %w", err)
		}
	}
	return nil
}

// tidy makes of empty lines what roff has for them.
var tidy = strings.NewReplacer("\n\n.EX\n", "\n.PP\n.EX\n", "\n\n", "\n")

// manualPage puts the head of a page of a section of the manual before its text.
func manualPage(name string, section int, usage, text string) string {
	return fmt.Sprintf("%% %q %q %q %q %q\n\n# NAME\n\n%s - %s\n\n%s", strings.ToUpper(name), fmt.Sprint(section), buildDate().Format(time.DateOnly), "TupleNet "+version(), "TupleNet", name, usage, text)
}

// buildDate is today, or the day that who builds a package wants it to be from
// (https://reproducible-builds.org/specs/source-date-epoch).
func buildDate() time.Time {
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC()
	}
	return time.Now().UTC()
}
