package ctl

import (
	"cmp"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// width returns how many columns a line may have: those of the terminal that s
// prints on, else COLUMNS; 0 is any number.
func (s *session) width() int {
	if out, ok := s.Out.(interface{ Fd() uintptr }); ok {
		if columns, _, err := term.GetSize(int(out.Fd())); err == nil {
			return columns
		}
	}
	columns, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil {
		return 0
	}
	return max(0, columns)
}

// cut returns the line, or as much of it as has room in width columns and an
// ellipsis behind it. A width of 0 is any number.
func cut(line string, width int) string {
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return line
	}
	ellipsis := "…"
	if !unicodeLocale() {
		ellipsis = "..."
	}
	room := max(0, width-utf8.RuneCountInString(ellipsis))
	return strings.TrimRight(string([]rune(line)[:room]), " ") + ellipsis
}

// unicodeLocale reports whether this process' locale has more characters than
// ASCII; locale(7) says which variable counts.
func unicodeLocale() bool {
	locale := strings.ToLower(cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG")))
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}
