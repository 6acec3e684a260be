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
// person is asked, a script is not.
func confirm(in io.Reader, out io.Writer, name string) error {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(out, "%s and all data under it will be deleted\nconfirm? [yes/no] ", name)
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
