package modes

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// unknown says that word names no thing (a mode, a command, a key) of those in
// known, and which it resembles.
func unknown(thing, word string, known []string) error {
	return fmt.Errorf("unknown %s %q%s (known: %s)", thing, word, didYouMean(word, known), strings.Join(known, ", "))
}

// didYouMean asks, as the end of a sentence, for the one of known that word is
// most like; it is empty if word is like none.
func didYouMean(word string, known []string) string {
	near := nearest(word, known)
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
}

// nearest returns the one of known that takes the fewest edits to make of word,
// or nothing if that is more than two or would leave nothing of word.
func nearest(word string, known []string) string {
	best, fewest := "", min(3, len(word))
	for _, k := range known {
		if edits := smetrics.WagnerFischer(word, k, 1, 1, 1); edits < fewest {
			best, fewest = k, edits
		}
	}
	return best
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
