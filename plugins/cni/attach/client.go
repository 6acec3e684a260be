package attach

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxAnswers bounds how many bytes the answers of one conversation may have.
const maxAnswers = 16 << 20

// dialPatience bounds how long an agent may take to accept a connection.
const dialPatience = 2 * time.Second

// Errorf returns an error with a code.
func Errorf(code Code, format string, a ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, a...)}
}

// Client is a plugin's end of a conversation. Its errors are of type *Error.
type Client struct {
	conn    net.Conn
	answers *json.Decoder
	path    string
}

// Dial begins a conversation with the agent whose run directory it is given.
// There being no agent is an error with CodeTryLater.
func Dial(runDir string) (*Client, error) {
	path := filepath.Join(runDir, SocketName)
	conn, err := net.DialTimeout("unix", path, dialPatience)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, Errorf(CodeTryLater, "no agent of TupleNet answers at %s: start it on this host (tuplenet agent), "+
			"or name its run directory by \"rundir\" in the configuration, or by TUPLENET_RUNDIR", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, Errorf(CodeIO, "connect to the agent at %s: %s: its socket is root's", path, err)
	case err != nil:
		return nil, Errorf(CodeTryLater, "connect to the agent at %s: %s", path, err)
	}
	return &Client{conn: conn, answers: json.NewDecoder(io.LimitReader(conn, maxAnswers)), path: path}, nil
}

// Say sends a request; the answer is to be heard before the next one is said.
func (c *Client) Say(r Request) error {
	text, err := json.Marshal(r)
	if err != nil {
		return Errorf(CodeIO, "ask the agent to %s: %s", r.Op, err)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(dialPatience)); err != nil {
		return c.failed(r.Op, err)
	}
	if _, err := c.conn.Write(append(text, '\n')); err != nil {
		return c.failed(r.Op, err)
	}
	return nil
}

// Hear waits for the answer to the request that was said, and returns the error
// in it as its own.
func (c *Client) Hear(op Op, patience time.Duration) (Answer, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return Answer{}, c.failed(op, err)
	}
	var a Answer
	if err := c.answers.Decode(&a); err != nil {
		return Answer{}, c.failed(op, err)
	}
	if a.Error != nil {
		return Answer{}, a.Error
	}
	return a, nil
}

// Ask says a request and hears its answer.
func (c *Client) Ask(r Request, patience time.Duration) (Answer, error) {
	if err := c.Say(r); err != nil {
		return Answer{}, err
	}
	return c.Hear(r.Op, patience)
}

// failed makes the error of a conversation that cannot go on.
func (c *Client) failed(op Op, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Errorf(CodeTryLater, "the agent at %s has not answered in time (%s): see what it waits for with tuplenet doctor, or in its log", c.path, op)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Errorf(CodeTryLater, "the agent at %s has hung up (%s): it was stopped, or failed; its log says more", c.path, op)
	}
	return Errorf(CodeAgent, "the agent at %s answers what this plugin does not understand (%s): %s: are they of one version?", c.path, op, err)
}

// Close ends the conversation, and returns when the agent has ended it, too: it
// has taken back then what was not kept. It waits no longer than patience.
func (c *Client) Close(patience time.Duration) {
	defer c.conn.Close()
	unix, ok := c.conn.(*net.UnixConn)
	if !ok || unix.CloseWrite() != nil || c.conn.SetReadDeadline(time.Now().Add(patience)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, c.conn)
}
