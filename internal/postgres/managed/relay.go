package managed

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/picloud/picloud/internal/service"
)

const (
	// greetTime bounds the first message of a session.
	greetTime = 10 * time.Second
	// maxGreeting is the longest first message that PostgreSQL takes, in bytes.
	maxGreeting = 10000
	// maxSessions bounds the sessions of other nodes at once: a node has two at rest, and up
	// to eleven while it is busy. So fifty fit while few of them are. The server itself has
	// MaxConnections.
	maxSessions = 220
)

// The first messages of a session that are not its start.
const (
	sslRequest    = 80877103
	gssRequest    = 80877104
	cancelRequest = 80877102
)

// Relay carries the sessions of other nodes to the server's socket. The server itself
// listens nowhere else.
type Relay struct {
	server *Server
	places chan struct{}
}

// Relay returns the server's relay.
func (s *Server) Relay() *Relay { return &Relay{server: s, places: make(chan struct{}, maxSessions)} }

// Serve carries one session, and closes client when it has ended. The session must be one
// of this role: the caller knows the node by its certificate. It ends when ctx does.
func (r *Relay) Serve(ctx context.Context, client net.Conn, role string) error {
	defer client.Close()
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
	default:
		return refuse(client, "53300", "too many sessions of other nodes")
	}
	if err := client.SetDeadline(time.Now().Add(greetTime)); err != nil {
		return err
	}
	greeting, err := greet(client, role)
	if err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: greetTime}
	server, err := dialer.DialContext(ctx, "unix", filepath.Join(r.server.run, ".s.PGSQL."+port))
	if err != nil {
		return errors.Join(refuse(client, "57P03", "the database of this node does not run"), err)
	}
	defer server.Close()
	if _, err := server.Write(greeting); err != nil {
		return fmt.Errorf("relay session: %w", err)
	}
	if err := client.SetDeadline(time.Time{}); err != nil {
		return err
	}
	both := func() { client.Close(); server.Close() }
	stop := context.AfterFunc(ctx, both)
	defer stop()
	back := service.Go(context.WithoutCancel(ctx), func(context.Context) {
		defer both()
		_, _ = io.Copy(client, server) // its end is the session's
	})
	_, _ = io.Copy(server, client)
	both()
	back.Stop()
	return nil
}

// greet reads the message that starts the session, and returns it as it came.
func greet(client net.Conn, role string) ([]byte, error) {
	for range 3 {
		raw, kind, err := first(client)
		if err != nil {
			return nil, err
		}
		switch kind {
		case sslRequest, gssRequest: // the way here is encrypted
			if _, err := client.Write([]byte{'N'}); err != nil {
				return nil, fmt.Errorf("relay session: %w", err)
			}
			continue
		case cancelRequest: // its secret key is what the server checks
			return raw, nil
		}
		var start pgproto3.StartupMessage
		if err := start.Decode(raw[4:]); err != nil {
			return nil, errors.Join(refuse(client, "08P01", "this is no start of a session"), err)
		}
		if start.Parameters["user"] != role || start.Parameters["database"] != database {
			return nil, refuse(client, "28000", "this node has the role "+role+" of the database "+database)
		}
		return raw, nil
	}
	return nil, refuse(client, "08P01", "this is no start of a session")
}

// first reads a first message: its length, its kind and what follows.
func first(client io.Reader) (raw []byte, kind uint32, err error) {
	raw = make([]byte, 8)
	if _, err := io.ReadFull(client, raw); err != nil {
		return nil, 0, fmt.Errorf("relay session: %w", err)
	}
	n := binary.BigEndian.Uint32(raw)
	if n < 8 || n > maxGreeting {
		return nil, 0, errors.New("relay session: this is not PostgreSQL's protocol")
	}
	rest := make([]byte, n-8)
	if _, err := io.ReadFull(client, rest); err != nil {
		return nil, 0, fmt.Errorf("relay session: %w", err)
	}
	return append(raw, rest...), binary.BigEndian.Uint32(raw[4:]), nil
}

// refuse tells the client why there is no session.
func refuse(client io.Writer, code, text string) error {
	message, err := (&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: text}).Encode(nil)
	if err == nil {
		_, err = client.Write(message)
	}
	return errors.Join(errors.New("relay session: "+text), err)
}
