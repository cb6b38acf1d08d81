package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// answer is a success. Its body is written as JSON, unless it is a sender or
// nothing.
type answer[T any] struct {
	status int
	header map[string]string
	body   T
}

// sender is a body that writes itself, with its content type.
type sender interface {
	send(w http.ResponseWriter) error
}

// nothing is the body of a 204.
type nothing struct{}

func ok[T any](body T) answer[T] { return answer[T]{status: http.StatusOK, body: body} }

func created[T any](location string, body T) answer[T] {
	return answer[T]{status: http.StatusCreated, body: body}.with("Location", location)
}

// accepted answers what is committed but not yet served by all who were waited for.
func accepted[T any](body T) answer[T] { return answer[T]{status: http.StatusAccepted, body: body} }

func done() answer[nothing] { return answer[nothing]{status: http.StatusNoContent} }

// with returns the answer with one more header.
func (a answer[T]) with(name, value string) answer[T] {
	header := map[string]string{name: value}
	for n, v := range a.header {
		header[n] = v
	}
	a.header = header
	return a
}

// write sends the answer, if the contract has it.
func (a answer[T]) write(w http.ResponseWriter, s successes) error {
	names, known := s[a.status]
	if !known || len(names) != len(a.header) {
		return fmt.Errorf("the contract has no answer %d with the headers %v", a.status, a.header)
	}
	for _, name := range names {
		value, ok := a.header[name]
		if !ok {
			return fmt.Errorf("the answer %d has no header %s", a.status, name)
		}
		w.Header().Set(name, value)
	}
	switch body := any(a.body).(type) {
	case nothing:
		w.WriteHeader(a.status)
		return nil
	case sender:
		return body.send(w)
	}
	return sendJSON(w, a.status, a.body)
}

func sendJSON(w http.ResponseWriter, status int, body any) error {
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(body); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err := text.WriteTo(w)
	return err
}
