// Package ctl is what tpctl does: it shows and changes the topology in the
// store, one object or one link at a time.
//
// All returns the commands as data: their arguments, their help and the
// function behind each. The arguments, the sentences and the plain output are
// those that scripts in the field know; --json prints one object a line.
// Whatever a command finds wrong it says in one sentence, and then it has
// written nothing.
//
// Flags, the connection's settings and the exit status are the caller's
// business, which is modes. The package knows no command-line library and
// keeps nothing between two commands.
package ctl
