package modes

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/config"
)

// checkAgent prints what an agent's settings are, where each comes from, and what is
// wrong with them.
func checkAgent(c *cli.Context, settings *config.Resolved, wrong error) error {
	wrong = config.Join(wrong, settings.CheckFiles())
	say := sayChecked
	if c.Bool("json") {
		say = encodeChecked
	}
	var problems config.Problems
	errors.As(wrong, &problems)
	if err := say(c.App.Writer, settings, problems); err != nil {
		return err
	}
	if wrong != nil {
		return cli.Exit("", 1) // what is bad has been told
	}
	return nil
}

func sayChecked(out io.Writer, settings *config.Resolved, problems config.Problems) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tVALUE\tSOURCE\tTAKEN OVER")
	for _, v := range settings.Values {
		takes := "at the start"
		if v.Live {
			takes = "live"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Key, cmp.Or(v.Shown(), "-"), v.Origin, takes)
	}
	fmt.Fprintln(table)
	for _, v := range settings.Values {
		if v.Note != "" {
			fmt.Fprintf(table, "note %s\n", v.Note)
			continue
		}
		for _, b := range v.Behind {
			fmt.Fprintf(table, "note %s has %s as %s, but %s counts before it\n", b.Origin, cmp.Or(v.Show(b.Text), "nothing"), v.Key, v.Origin)
		}
	}
	for _, p := range problems {
		fmt.Fprintf(table, "BAD %s\n", p.Text)
	}
	if len(problems) == 0 {
		fmt.Fprintln(table, "ok  the configuration can be used")
	}
	return table.Flush()
}

func encodeChecked(out io.Writer, settings *config.Resolved, problems config.Problems) error {
	type behind struct {
		Value  string        `json:"value"`
		Source config.Source `json:"source"`
		Where  string        `json:"where"`
	}
	type value struct {
		Key    string        `json:"key"`
		Value  string        `json:"value"`
		Source config.Source `json:"source"`
		Where  string        `json:"where,omitempty"`
		Live   bool          `json:"live"`
		Behind []behind      `json:"behind,omitempty"`
		Note   string        `json:"note,omitempty"`
	}
	type problem struct {
		Problem string `json:"problem"`
		Key     string `json:"key,omitempty"`
		Where   string `json:"where,omitempty"`
	}
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	var failed error
	for _, v := range settings.Values {
		line := value{Key: v.Key, Value: v.Shown(), Source: v.Origin.Source, Where: v.Origin.Where, Live: v.Live, Note: v.Note}
		for _, b := range v.Behind {
			line.Behind = append(line.Behind, behind{v.Show(b.Text), b.Origin.Source, b.Origin.Where})
		}
		failed = errors.Join(failed, lines.Encode(line))
	}
	for _, p := range problems {
		failed = errors.Join(failed, lines.Encode(problem{p.Text, p.Key, p.Where}))
	}
	return failed
}
