// Package suggest finds what somebody may have meant who has mistyped a name. It
// compares spelling alone, and knows nothing of what the names stand for. All who
// tell people of a name that does not exist may call it.
package suggest

import (
	"fmt"
	"strings"

	"github.com/xrash/smetrics"
)

// DidYouMean asks, as the end of a sentence, for the one of known that word is
// most like; it is empty if word is like none.
func DidYouMean(word string, known []string) string {
	near := nearest(word, known)
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
}

// Among is DidYouMean, or else lists known if they are few.
func Among(word string, known []string) string {
	if near := DidYouMean(word, known); near != "" || len(known) == 0 || len(known) > maxListed {
		return near
	}
	return "; there are: " + strings.Join(known, ", ")
}

// maxListed is how many names make a list that one can read in a sentence.
const maxListed = 12

// nearest returns the one of known that takes the fewest edits to make of word,
// whatever the case of letters, or nothing if that is more than two or would leave
// nothing of word.
func nearest(word string, known []string) string {
	word = strings.ToLower(word)
	best, fewest := "", min(3, len(word))
	for _, k := range known {
		if edits := smetrics.WagnerFischer(word, strings.ToLower(k), 1, 1, 1); edits < fewest {
			best, fewest = k, edits
		}
	}
	return best
}
