// Package data has the forms of a script's values outside the machine: JSON
// ([JSONWriter], [ReadJSON]) for HTTP, CBOR ([CBORWriter], [ReadCBOR]) for the host,
// and text ([PlainText], [Show]) for logs and errors. [Fields] are the read-only maps
// of a request, which decode what a script looks up.
//
// Data is null, bool, numbers, strings, bytes (in CBOR), and lists and maps of
// these. Objects of the engine take part through [Mapped] and [Texted].
package data
