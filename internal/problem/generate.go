package problem

//go:generate go run ./gen ../../docs/errors.md
