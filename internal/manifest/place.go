package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Place is where something stands in a text.
type Place struct {
	File         string
	Line, Column int // from 1; 0 if only the file is known
}

// String returns the place as editors know it, "net.yaml:12:5".
func (p Place) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is one thing that is wrong.
type Problem struct {
	At   Place // empty if the problem is with what the store holds
	Text string
}

// String returns a line for people.
func (p Problem) String() string {
	if p.At == (Place{}) {
		return p.Text
	}
	return p.At.String() + ": " + p.Text
}

// Problems is all that is wrong, an error of one line for each.
type Problems []Problem

// Err returns the problems, sorted by place, or nil if there are none.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.At.File, b.At.File), a.At.Line-b.At.Line, a.At.Column-b.At.Column)
	})
	return p
}

// Error implements error.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}
