package ctl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// confirm returns an error unless the next line of in is "yes" or "y". A
// person is told what will happen and asked, a script is not.
func confirm(in io.Reader, out io.Writer, what string) error {
	if isTerminal(in) {
		fmt.Fprintf(out, "%s\nconfirm? [yes/no] ", what)
	}
	line, err := bufio.NewReader(io.LimitReader(in, 1024)).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the confirmation from standard input: %w", err)
	}
	switch strings.TrimSpace(line) {
	case "yes", "y":
		return nil
	}
	return errors.New("operation canceled")
}

// isTerminal reports whether a person reads, or writes, at the other end.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
