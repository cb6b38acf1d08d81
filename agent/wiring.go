package agent

// hider hides in the node's logs what the broker gave to functions.
type hider struct{ *redactions }

// Learn implements broker.Hider.
func (h hider) Learn(app, name, value string) { h.learn(app, name, value) }

// bodyMemory counts the bodies of responses with those of calls.
type bodyMemory struct{ *transit }

// Take implements egress.Memory.
func (m bodyMemory) Take(n int64) bool { return m.take(n) }

// Give implements egress.Memory.
func (m bodyMemory) Give(n int64) { m.give(n) }
