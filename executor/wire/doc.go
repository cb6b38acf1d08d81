// Package wire is the language between the agent and its executor processes:
// frames on a unix stream socket, each a fixed header of 16 bytes and a CBOR
// payload.
//
// The agent treats the worker as hostile. Every length is checked against a
// limit before memory is taken for it, every decoder accepts exactly one shape,
// and nothing in a payload names the app: that is known from the socket.
//
// The package is linked into the worker, so it stays small: it imports neither
// the domain nor net/http.
//
// # Conversation
//
//	agent → worker: Config, then Load, Invoke, Cancel, HostReply, Unload
//	worker → agent: Hello, then Loaded, Log, HostCall, Result or Failure
//
// Config is the first frame of the agent, Hello the first of the worker;
// neither waits for the other. The header's id is a call for Invoke, Cancel,
// Result, Failure, Log, HostCall and HostReply, a program slot for Load, Loaded
// and Unload, and 0 for Config and Hello. Each Load is answered by one Loaded
// and each Invoke by exactly one Result or Failure, cancelled ones too. A Log
// or a HostCall of a call precedes that call's answer.
//
// Nothing waits for an answer: the first Invoke of a program follows its Load at
// once, in the same write, and a worker that could not load the program answers
// it with [ReasonNotLoaded]. The Loaded frames come in the order of the Loads. A
// slot may be reused after its Unload while calls of the old program still run.
// Invoke.Timeout counts from when the worker takes up the frame; the agent keeps
// the clock that decides.
//
// # Memory
//
// The result of a decoder aliases the payload, and is valid as long as the payload
// is. A payload from [Reader.Next] is valid until the next call
// of Next; [Reader.Take] makes it last.
package wire
