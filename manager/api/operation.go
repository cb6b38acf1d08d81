package api

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/budget"
	"github.com/picloud/picloud/internal/share"
)

// operation is one operation of openapi.yaml: what it reads, what it answers,
// and its limits. TestOperationsAreTheContract compares it with the contract.
type operation struct {
	method, path string
	of           reflect.Type // the struct that takes the parameters
	params       []param      // its fields
	body         bodyReader   // an empty one of its kind
	answer       reflect.Type // of the body of a success
	success      successes
	settles      bool  // it waits until the nodes serve the change
	limit        int64 // of the request's body, in bytes
	answers      int64 // memory that an answer takes, if it can be large, in bytes
	// lasts reports whether no deadline ends a call with these parameters. Nil: one does.
	lasts func(params any) bool

	// call also returns the catalog's revision that has the change, of an
	// operation that settles.
	call func(ctx context.Context, params, body any) (erased, int64, error)
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
	op := newOperation(pattern, s, new(P), new(B), reflect.TypeFor[T]())
	op.call = func(ctx context.Context, p, b any) (erased, int64, error) {
		out, err := handle(ctx, *p.(*P), *b.(*B))
		return out.erase(), 0, err
	}
	return op
}

// change makes an operation that changes what nodes serve. Its handler returns
// the catalog's revision that has the change, and the answer waits until all
// nodes serve that revision (read-your-writes): a caller who changes a setting
// and then calls the function meets the new setting.
func change[P, B, T any](pattern string, s successes, handle func(context.Context, P, B) (answer[T], int64, error)) operation {
	op := newOperation(pattern, s, new(P), new(B), reflect.TypeFor[T]())
	op.settles = true
	op.call = func(ctx context.Context, p, b any) (erased, int64, error) {
		out, rev, err := handle(ctx, *p.(*P), *b.(*B))
		return out.erase(), rev, err
	}
	return op
}

func newOperation(pattern string, s successes, params, body any, answer reflect.Type) operation {
	method, path, _ := strings.Cut(pattern, " ")
	of := reflect.TypeOf(params).Elem()
	return operation{method: method, path: path, of: of, params: paramsOf(of), body: body.(bodyReader), answer: answer, success: s, limit: maxJSON}
}

// serve answers one request. What is common to all operations is here and not
// in the generic functions, which the compiler copies for each operation.
func (op operation) serve(s *server, w http.ResponseWriter, r *http.Request) error {
	params := reflect.New(op.of)
	if err := bind(r, op.params, params.Elem()); err != nil {
		return err
	}
	if err := checkNames(r); err != nil {
		return err
	}
	if err := bound(w, r, op.limit); err != nil {
		return err
	}
	user := callOf(r.Context()).user.Name
	ctx := share.With(r.Context(), user)
	memory := &budget.Share{Of: s.o.Memory.Part("user " + user), Free: freeMemory}
	defer memory.GiveAll()
	callOf(ctx).memory = memory
	need := op.answers + perByte*op.announced(r)
	if s.large != nil && need > freeMemory {
		if !s.large.Take(ctx.Done(), user, need, largePatience) {
			return noRoom()
		}
		defer s.large.Give(user, need)
	}
	if err := reserve(ctx, need); err != nil {
		return err
	}
	if op.lasts == nil || !op.lasts(params.Interface()) {
		leave, free := s.calls.Take(user)
		if !free {
			return &picloud.Error{
				Code: picloud.CodeQueueFull, RetryAfter: time.Second,
				Detail: "too many of your calls, or of all calls, are under way at this node", Hint: "send fewer at once",
			}
		}
		defer leave()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	body := reflect.New(reflect.TypeOf(op.body).Elem()).Interface().(bodyReader)
	if err := body.read(r); err != nil {
		return err
	}
	out, rev, err := op.call(ctx, params.Interface(), body)
	if err != nil {
		return err
	}
	if op.settles {
		s.o.Manager.Await(ctx, rev, picloud.WaitAll)
	}
	return write(w, out, op.success)
}

// What calls take of the node's memory.
const (
	freeMemory = 64 << 10 // bytes of each that are not counted
	// A large call waits largePatience for its turn, and maxWaitingCalls wait at most.
	largePatience   = 5 * time.Second
	maxWaitingCalls = 256

	perByte = 4 // for each byte of a body: as it came, converted, and on its way to the store
)

// announced is how long the body of a request can be. It is 0 where the contract has none.
func (op operation) announced(r *http.Request) int64 {
	if _, none := op.body.(*none); none {
		return 0
	}
	if r.ContentLength >= 0 {
		return r.ContentLength
	}
	return op.limit
}

// answering says what memory an answer can take that is not small.
func (op operation) answering(bytes int64) operation {
	op.answers = bytes
	return op
}

// upTo bounds the request's body, which else has at most maxJSON bytes.
func (op operation) upTo(bytes int64) operation {
	op.limit = bytes
	return op
}

// lasting takes the deadline, and the place among the user's calls, from calls with the
// parameters for which when is true. They are bounded by their handler.
func (op operation) lasting(when func(params any) bool) operation {
	op.lasts = when
	return op
}
