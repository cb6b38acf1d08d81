package hostcall

import "github.com/picloud/picloud/internal/value"

// Secret is secrets.get [name]. Its answer is a text, or bytes when the secret is not
// UTF-8.
type Secret struct{ Name string }

// Append writes the arguments.
func (c Secret) Append(dst []byte) []byte {
	return value.AppendText(value.AppendList(dst, 1), c.Name)
}

// Read reads and checks the arguments. The error is an *Error.
func (c *Secret) Read(a Arguments) error {
	r := read(SecretsGet, a, 1)
	c.Name = r.text("name")
	return r.done()
}
