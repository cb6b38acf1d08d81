package join

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/picloud/picloud/internal/strictjson"
)

// maxFrame bounds a request and an answer, in bytes.
const maxFrame = 64 << 10

// errFrame says that what came is no message of this protocol.
var errFrame = errors.New("this is no message of the join protocol")

// write sends a message.
func write(w io.Writer, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("write join message: %w", err)
	}
	if len(text) > maxFrame {
		return fmt.Errorf("write join message: it has %d bytes, more than %d", len(text), maxFrame)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

// read receives a message. It holds no more memory than what came.
func read(r io.Reader, into any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n == 0 || n > maxFrame {
		return errFrame
	}
	text, err := io.ReadAll(io.LimitReader(r, int64(n)))
	switch {
	case err != nil:
		return err
	case len(text) < int(n):
		return io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	if err := strictjson.Check(text); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}
