// Package risor is the engine: it compiles scripts and runs their handlers. It
// is, with its folders vm, data and module, the only importer of Risor.
//
// A script defines functions for the kinds of calls that it serves, see
// Handlers. [Compile] checks the bounds of a source and compiles it once;
// [Program.Invoke] runs the top level and the handler on cleared memory, so that
// nothing leaks from one call to the next.
//
// # What a script finds
//
// Risor's builtin functions without I/O, the modules math and regexp, and the
// host modules of [module.Modules], from which the reference in docs/functions.md is
// made. Their errors have a stable code. Names that a script defines itself at its top
// level take precedence, so that new host modules break no script.
//
// # The request
//
// method, path, raw_path, base, route, client_ip, id, app and function are strings,
// version is an int, body is bytes; text() is the body as a string (error code
// "invalid_utf8"), json() as a value ("json_invalid") and form() as a form
// ("form_invalid", "form_too_large"). When the script does not catch one of these
// errors, the call ends with wire.ReasonRequest: the caller is at fault. query,
// headers, cookies, params and form() are read-only maps in which a missing name is
// null; req.query.get(name, default) and req.query.all(name), a list of every value,
// work on each. A repeated query name gives its first value, a repeated header its
// values joined by commas. Header names are lower-case; an underscore in an attribute
// stands for a hyphen: req.headers.user_agent. Nothing is decoded before it is read.
//
// # The response
//
// What a handler returns becomes the response:
//
//	null                        204, no body
//	string                      200, text/plain; charset=utf-8
//	bytes                       200, application/octet-stream
//	bool, number, list, map     200, application/json
//	an answer of http.fetch     its own status, headers and body
//
// A map is an envelope instead of data when all of its keys are among status,
// headers and body, and it has a body or a number as status: {status: 404},
// {body: x}, {status: 200, headers: {"x-hi": "1"}, body: x}. The body is
// converted as above, null is an empty one; status is 200 when it is absent.
// Data that may look like an envelope is returned as {body: data}. A header's
// value is a string, a number, or a list of them for a repeated header. Its
// content-type, when set, replaces the one above; a text type without a charset gets
// one when the body is a string. Length, connection and transfer are the server's
// headers, not the script's. The headers of another message (req.headers, those of an
// answer of http.fetch) are passed on line by line, without what belongs to its
// connection. An answer to HEAD without a body may state a length.
//
// JSON has sorted keys, exact 64-bit integers and no HTML escapes. Functions,
// errors, bytes inside JSON, NaN and infinities, text that is not UTF-8 and
// values nested more than 500 deep (or in themselves) are no response.
package risor

//go:generate go run ./gen ../../docs/functions.md
