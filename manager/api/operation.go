package api

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"github.com/picloud/picloud"
)

// operation is one operation of openapi.yaml: what it reads, what it answers,
// and its limits. TestOperationsAreTheContract compares it with the contract.
type operation struct {
	method, path string
	params       []param      // of path, query and header
	body         bodyReader   // an empty one of its kind
	answer       reflect.Type // of the body of a success
	success      successes
	settles      bool  // it waits until the nodes serve the change
	limit        int64 // of the request's body, in bytes
	lasts        bool  // no deadline ends it

	serve func(op operation, s *server, w http.ResponseWriter, r *http.Request) error
}

// successes are the statuses of an operation that succeeds, with the names of
// the headers that each answer has.
type successes map[int][]string

// on makes an operation that changes nothing that nodes serve, or whose handler
// waits for the nodes itself, as a deploy does. The fields of P are its
// parameters (bind.go), B reads its body (body.go), T is the body of its
// answer. What is not a GET also stands in TestChangesWaitForTheNodes, with the
// reason why it does not wait.
func on[P, B, T any](pattern string, s successes, handle func(context.Context, P, B) (answer[T], error)) operation {
	return newOperation(pattern, s, func(_ *server, ctx context.Context, p P, b B) (answer[T], error) {
		return handle(ctx, p, b)
	})
}

// change makes an operation that changes what nodes serve. Its handler returns
// the catalog's revision that has the change, and the answer waits until all
// nodes serve that revision (read-your-writes): a caller who changes a setting
// and then calls the function meets the new setting.
func change[P, B, T any](pattern string, s successes, handle func(context.Context, P, B) (answer[T], int64, error)) operation {
	op := newOperation(pattern, s, func(s *server, ctx context.Context, p P, b B) (answer[T], error) {
		out, rev, err := handle(ctx, p, b)
		if err == nil {
			s.o.Manager.Await(ctx, rev, picloud.WaitAll)
		}
		return out, err
	})
	op.settles = true
	return op
}

func newOperation[P, B, T any](pattern string, s successes, handle func(*server, context.Context, P, B) (answer[T], error)) operation {
	method, path, _ := strings.Cut(pattern, " ")
	return operation{
		method: method, path: path, params: paramsOf(reflect.TypeFor[P]()), body: any(new(B)).(bodyReader), answer: reflect.TypeFor[T](), success: s, limit: maxJSON,
		serve: func(op operation, s *server, w http.ResponseWriter, r *http.Request) error {
			var p P
			var b B
			if err := bind(r, op.params, reflect.ValueOf(&p).Elem()); err != nil {
				return err
			}
			if err := checkNames(r); err != nil {
				return err
			}
			if err := bound(w, r, op.limit); err != nil {
				return err
			}
			ctx := r.Context()
			if !op.lasts {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, callTimeout)
				defer cancel()
			}
			if err := any(&b).(bodyReader).read(r); err != nil {
				return err
			}
			out, err := handle(s, ctx, p, b)
			if err != nil {
				return err
			}
			return out.write(w, op.success)
		},
	}
}

// upTo bounds the request's body, which else has at most maxJSON bytes.
func (op operation) upTo(bytes int64) operation {
	op.limit = bytes
	return op
}

// lasting takes the deadline away.
func (op operation) lasting() operation {
	op.lasts = true
	return op
}
