package modes

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/suggest"
)

// unknown says that word names no thing (a mode, a command, a key) of those in
// known, and which it resembles.
func unknown(thing, word string, known []string) error {
	return fmt.Errorf("unknown %s %q%s (known: %s)", thing, word, suggest.DidYouMean(word, known), strings.Join(known, ", "))
}

func names(commands []*cli.Command) []string {
	var list []string
	for _, c := range commands {
		if !c.Hidden {
			list = append(list, c.Name)
		}
	}
	return list
}
