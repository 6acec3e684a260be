package cnm

// engine is the Docker Engine of this host, asked by its API.
type engine struct {
	socket string
}

func newEngine(socket string) *engine { return &engine{socket: socket} }
