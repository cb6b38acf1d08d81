package spawn

// What the tests of the whole executor compare with the kernel's word.
var (
	Statuses = statuses
	Except   = except
)

// NamespaceFile is the name that /proc gives a namespace.
func NamespaceFile(layer string) string { return cloneFlags[layer].file }
