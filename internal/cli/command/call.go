package command

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// callTimeout bounds one request to the control API. The server bounds the time that a
// deploy waits for nodes by less.
const callTimeout = time.Minute

// Call connects to the node and lets send ask it, within a deadline. An error
// says what was tried (op, such as "create app"), and on what (resource).
func Call[T any](c *Base, cmd *cobra.Command, op, resource string, send func(context.Context, *Node) (T, error)) (T, error) {
	node, err := c.Connect()
	if err != nil {
		var none T
		return none, err
	}
	return Ask(cmd.Context(), node, op, resource, send)
}

// Ask is Call on a node that the caller has connected to.
func Ask[T any](ctx context.Context, node *Node, op, resource string, send func(context.Context, *Node) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := send(ctx, node)
	return out, node.Fail(err, op, resource)
}

// List is Call for every page of a list. It stops after maxPages pages; more reports that
// there are others.
func List[T any](c *Base, cmd *cobra.Command, op, resource string, fetch func(ctx context.Context, node *Node, limit *int, cursor *string) (items []T, next string, err error)) (all []T, more bool, err error) {
	all, err = Call(c, cmd, op, resource, func(ctx context.Context, node *Node) (_ []T, err error) {
		all, more, err = pages(func(limit *int, cursor *string) ([]T, string, error) { return fetch(ctx, node, limit, cursor) })
		return all, err
	})
	return all, more, err
}
