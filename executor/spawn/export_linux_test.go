package spawn

// The tests of the whole executor compare these with what the kernel reports.
var (
	Statuses = statuses
	Except   = except
)

// NamespaceFile is the name that /proc gives a namespace.
func NamespaceFile(layer string) string { return cloneFlags[layer].file }
